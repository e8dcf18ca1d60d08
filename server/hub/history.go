package hub

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"cellar/checkpoint/tree"
	"cellar/internal/fault"
)

// FileView is a path of a checkpoint, or of the project, as it is told.
type FileView struct {
	Path       string    `json:"path" doc:"below the project; what is no UTF-8 in it is replaced"`
	Raw        string    `json:"raw,omitempty" doc:"the path in base64, when it is no UTF-8"`
	Kind       string    `json:"kind" enum:"file,folder,link,other"`
	Size       int64     `json:"size"`
	ModifiedAt time.Time `json:"modified_at"`
	Kept       bool      `json:"kept" doc:"it can be opened and restored"`
	Why        string    `json:"why,omitempty" doc:"why it is not: too_large, too_much, special, unreadable, too_deep"`
	Torn       bool      `json:"torn,omitempty" doc:"it changed all the while it was read: it may be of two moments"`
}

var kindNames = map[tree.Kind]string{tree.File: "file", tree.Folder: "folder", tree.Link: "link", tree.Other: "other"}

func viewOf(e tree.Entry) FileView {
	v := FileView{Kind: kindNames[e.Kind], Size: e.Size, ModifiedAt: e.MtimeOf().UTC(), Kept: e.Why == tree.Kept, Torn: e.Torn}
	v.Path, v.Raw = tellPath(e)
	if !v.Kept {
		v.Why = e.Why.String()
	}
	return v
}

// tellPath gives an entry's path in the project.
func tellPath(e tree.Entry) (told, raw string) {
	_, rel, _ := strings.Cut(e.Path, "/")
	if utf8.ValidString(rel) {
		return rel, ""
	}
	return strings.ToValidUTF8(rel, "\uFFFD"), base64.StdEncoding.EncodeToString([]byte(rel))
}

// FilePath is a path as a client gives it: as text, or in base64.
func FilePath(text, raw string) (string, error) {
	if raw == "" {
		return text, nil
	}
	b, err := base64.StdEncoding.DecodeString(raw)
	if err != nil {
		return "", fault.New(fault.Invalid, "bad_path", "The path is not in base64.")
	}
	return string(b), nil
}

// FileList is a part of what a checkpoint has.
type FileList struct {
	Items    []FileView    `json:"items" doc:"in the order of their paths"`
	Next     string        `json:"next,omitempty" doc:"what to give as after, for those that follow; in base64"`
	Packages []PackageKept `json:"packages" doc:"what the person had installed"`
}

// maxListed is how many paths are told at once.
const maxListed = 5000

// KeptFiles opens the files of a checkpoint.
func (h *Hub) KeptFiles(ctx context.Context, c Checkpoint) (*tree.Snapshot, error) {
	switch c.Files.State {
	case FilesThere:
	case FilesPending:
		return nil, fault.New(fault.Conflict, "files_pending", "The files of this checkpoint are being kept at this moment. Try again soon.")
	case FilesFailed:
		return nil, fault.New(fault.Unsupported, "no_files_kept", "This checkpoint keeps no files. "+c.Files.Detail)
	default:
		return nil, fault.New(fault.Unsupported, "no_files_kept", "This checkpoint keeps no files.")
	}
	p, err := h.placeOf(ctx, c.Project, c.ID)
	if err != nil {
		return nil, err
	}
	return h.Archive.Files(ctx, p)
}

// ListFiles lists the project's files as they were at a checkpoint.
func (h *Hub) ListFiles(ctx context.Context, c Checkpoint, after string) (FileList, error) {
	out := FileList{Items: []FileView{}, Packages: []PackageKept{}}
	s, err := h.KeptFiles(ctx, c)
	if err != nil {
		return out, err
	}
	out.Packages = packagesOf(s)
	last := ""
	for _, e := range s.Below(topFiles) {
		rel, _ := e.Below(topFiles)
		if rel <= after {
			continue
		}
		if len(out.Items) == maxListed {
			out.Next = base64.StdEncoding.EncodeToString([]byte(last))
			break
		}
		out.Items, last = append(out.Items, viewOf(e)), rel
	}
	return out, nil
}

func packagesOf(s *tree.Snapshot) []PackageKept {
	var about aboutFiles
	if json.Unmarshal(s.About(), &about) != nil || about.Packages == nil {
		return []PackageKept{}
	}
	return about.Packages
}

// entryOf finds a file of a checkpoint.
func (h *Hub) entryOf(ctx context.Context, c Checkpoint, name string) (*tree.Snapshot, tree.Entry, error) {
	s, err := h.KeptFiles(ctx, c)
	if err != nil {
		return nil, tree.Entry{}, err
	}
	e, found := s.Find(topFiles + "/" + name)
	if !found {
		return nil, e, fault.Newf(fault.NotFound, "file_not_found", "There was no %.200q at that checkpoint.", name)
	}
	return s, e, nil
}

// OpenKept reads a file as it was at a checkpoint.
func (h *Hub) OpenKept(ctx context.Context, c Checkpoint, name string) (io.Reader, FileView, error) {
	s, e, err := h.entryOf(ctx, c, name)
	if err != nil {
		return nil, FileView{}, err
	}
	if !e.HasContent() {
		return nil, viewOf(e), fault.Newf(fault.Unsupported, "not_kept", "%.200q has no content in this checkpoint (%s).", name, e.Why)
	}
	return s.Content(ctx, e), viewOf(e), nil
}

// FileChange is a file that differs between then and now.
type FileChange struct {
	Path   string    `json:"path"`
	Raw    string    `json:"raw,omitempty"`
	Change string    `json:"change" enum:"added,changed,removed" doc:"what has happened since then"`
	Then   *FileView `json:"then,omitempty"`
	Now    *FileView `json:"now,omitempty"`
}

// FileChanges is what differs between the files of a checkpoint and others.
type FileChanges struct {
	Items    []FileChange    `json:"items"`
	Packages []PackageChange `json:"packages"`
	More     int             `json:"more,omitempty" doc:"how many are not listed"`
	Notes    []string        `json:"notes,omitempty"`
}

// PackageChange is one package now and at a checkpoint; empty means it is not
// there.
type PackageChange struct {
	Name     string `json:"name"`
	Language string `json:"language"`
	Now      string `json:"now"`
	Then     string `json:"then"`
}

// FilesSince says what differs between the files of a checkpoint and those that
// are there now.
func (h *Hub) FilesSince(ctx context.Context, p Project, c Checkpoint) (FileChanges, error) {
	s, err := h.KeptFiles(ctx, c)
	if err != nil {
		return FileChanges{}, err
	}
	t, _, done, err := h.taking(p, c.Image)
	if err != nil {
		return FileChanges{}, err
	}
	defer done()
	now, cut, err := tree.Look(ctx, tree.Taking{Tops: t.Tops[:1], Skip: t.Skip})
	if err != nil {
		return FileChanges{}, err
	}
	list, err := tree.Compare(s.Below(topFiles), now, tree.SamePresent(ctx, t.Tops))
	if err != nil {
		return FileChanges{}, err
	}
	var about aboutFiles
	if err := json.Unmarshal(t.About, &about); err != nil {
		return FileChanges{}, err
	}
	out := changesOf(list, s.Summary().Cut || cut)
	out.Packages = diffPackages(about.Packages, packagesOf(s))
	return out, nil
}

// FilesBetween says what differs between the files of two checkpoints.
func (h *Hub) FilesBetween(ctx context.Context, c, to Checkpoint) (FileChanges, error) {
	then, err := h.KeptFiles(ctx, c)
	if err != nil {
		return FileChanges{}, err
	}
	now, err := h.KeptFiles(ctx, to)
	if err != nil {
		return FileChanges{}, err
	}
	list, err := tree.Compare(then.Below(topFiles), now.Below(topFiles), tree.SameKept)
	out := changesOf(list, then.Summary().Cut || now.Summary().Cut)
	out.Packages = diffPackages(packagesOf(now), packagesOf(then))
	return out, err
}

// changesOf tells what differs; folders are seen by what is in them.
func changesOf(list []tree.Change, cut bool) FileChanges {
	out := FileChanges{Items: []FileChange{}, Packages: []PackageChange{}}
	for _, c := range list {
		if c.Then.Kind == tree.Folder && c.Now.Kind != tree.File || c.Now.Kind == tree.Folder && c.Then.Kind != tree.File {
			continue
		}
		if len(out.Items) == maxListed {
			out.More++
			continue
		}
		one := FileChange{Change: c.How}
		if c.How != tree.Added {
			v := viewOf(c.Then)
			one.Then, one.Path, one.Raw = &v, v.Path, v.Raw
		}
		if c.How != tree.Removed {
			v := viewOf(c.Now)
			one.Now, one.Path, one.Raw = &v, v.Path, v.Raw
		}
		out.Items = append(out.Items, one)
	}
	if cut {
		out.Notes = append(out.Notes, "There are more files than can be listed: only some are compared.")
	}
	return out
}

func diffPackages(now, then []PackageKept) []PackageChange {
	old := map[string]PackageKept{}
	for _, o := range then {
		old[o.Language+"/"+o.Name] = o
	}
	out := []PackageChange{}
	for _, n := range now {
		key := n.Language + "/" + n.Name
		if o := old[key]; o.Version != n.Version {
			out = append(out, PackageChange{n.Name, n.Language, n.Version, o.Version})
		}
		delete(old, key)
	}
	for _, o := range then {
		if _, left := old[o.Language+"/"+o.Name]; left {
			out = append(out, PackageChange{o.Name, o.Language, "", o.Version})
		}
	}
	return out
}

// Version is a file as some checkpoint has it, unlike it is now.
type Version struct {
	Checkpoint string    `json:"checkpoint" doc:"the newest that has this version"`
	Name       string    `json:"name" doc:"of the checkpoint"`
	CreatedAt  time.Time `json:"created_at" doc:"of the checkpoint"`
	File       FileView  `json:"file"`
}

// Versions lists the earlier versions of a file, newest first: one for each
// content that is not the present one.
func (h *Hub) Versions(ctx context.Context, p Project, name string) ([]Version, error) {
	list, err := h.Checkpoints(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	tops, _, done, err := h.tops(p)
	if err != nil {
		return nil, err
	}
	defer done()
	seen := map[string]bool{}
	if sum, size, ok := presentSum(ctx, tops, name); ok {
		seen[fmt.Sprint(sum, size)] = true
	}
	out := []Version{}
	for _, c := range list {
		if c.Files.State != FilesThere {
			continue
		}
		s, err := h.KeptFiles(ctx, c)
		if err != nil {
			return nil, err
		}
		e, found := s.Find(topFiles + "/" + name)
		if !found || e.Kind != tree.File {
			continue
		}
		key := fmt.Sprint(e.Sum, e.Size)
		if !e.HasContent() {
			key = fmt.Sprint(e.Mtime, e.Size)
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, Version{c.ID, c.Name, c.CreatedAt, viewOf(e)})
		}
	}
	return out, nil
}

// presentSum reads the file that is there now.
func presentSum(ctx context.Context, tops []tree.Top, name string) (sum tree.Sum, size int64, ok bool) {
	e, ok := tree.Present(tops[0], name)
	if !ok || e.Kind != tree.File {
		return sum, 0, false
	}
	sum, err := tree.SumPresent(ctx, tops, e)
	return sum, e.Size, err == nil
}

// What becomes of a file that is in the place of one that is restored.
const (
	PresentRefuse  = "refuse"
	PresentAside   = "keep"
	PresentReplace = "replace"
)

// RestoredFile says what restoring a file did.
type RestoredFile struct {
	Path  string `json:"path"`
	Aside string `json:"aside,omitempty" doc:"what the file that was there is called now"`
}

// RestoreFile brings one file of a checkpoint back, under its own name or another.
func (h *Hub) RestoreFile(ctx context.Context, p Project, c Checkpoint, name, to, present string) (RestoredFile, error) {
	s, e, err := h.entryOf(ctx, c, name)
	if err != nil {
		return RestoredFile{}, err
	}
	if to == "" {
		to = name
	}
	if e.Kind == tree.Folder {
		return RestoredFile{}, fault.New(fault.Unsupported, "is_a_folder", "Files are restored one by one; this is a folder.")
	}
	ctx, leave, err := h.filing.enter(ctx, p.ID, true)
	if err != nil {
		return RestoredFile{}, err
	}
	defer leave()
	tops, _, done, err := h.tops(p)
	if err != nil {
		return RestoredFile{}, err
	}
	defer done()
	if err := errors.Join(room(h.Data, e.Size), h.mayGrow(ctx, p.Owner, p.ID, e.Size)); err != nil {
		return RestoredFile{}, err
	}
	how := map[string]tree.InPlace{PresentAside: tree.Aside, PresentReplace: tree.Replace}[present]
	aside, err := s.Restore(ctx, e, tree.Target{Root: tops[0].Root, Owner: p.FileOwner(), Present: how, Durable: true}, to)
	return RestoredFile{to, aside}, err
}
