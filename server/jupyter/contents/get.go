package contents

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"cellar/internal/fault"
)

// The formats of a file's content.
const (
	Text   = "text"
	Base64 = "base64"
	JSON   = "json"
)

// Overlay lays over a notebook what its file does not hold, such as outputs that came while no
// browser was open, and takes note of what is saved. Both get and give the form in memory.
type Overlay interface {
	// Lays reports whether there is anything to lay over a notebook: mostly not, and then saving is spared a round.
	Lays(path string) bool
	Loaded(path string, nb []byte) []byte
	Saving(path string, nb []byte) []byte
}

// Want says what of a file is asked for. Empty type and format mean: whatever it is.
type Want struct {
	Type, Format  string
	Content, Hash bool
	Overlay       Overlay // may be nil
	Trust         Trust   // nil: all is trusted
}

// Get answers the model of a file or directory.
func (t *Tree) Get(p string, want Want) (*Model, error) {
	place, err := t.place(p)
	if err != nil {
		return nil, err
	}
	info, err := t.root.Stat(at(place))
	if err != nil {
		return nil, classed(place, err)
	}
	m := t.describe(place, info)
	if err := checkType(m, want); err != nil {
		return nil, err
	}
	if m.Type == Directory {
		if want.Content {
			err = t.list(m)
		}
		return m, err
	}
	if err := mustBeRegular(place, info); err != nil {
		return nil, err
	}
	if want.Content {
		return m, t.load(m, want)
	}
	if want.Hash {
		return m, t.hash(m)
	}
	return m, nil
}

// checkType sets the type that was asked for where the file can be seen as that. A type we do not know
// is a file, as it is for Jupyter: front ends have types of their own.
func checkType(m *Model, want Want) error {
	switch want.Type {
	case "", m.Type:
	case Directory:
		return fault.Newf(fault.Invalid, "not_a_directory", "%s is not a directory.", m.Path)
	default:
		if m.Type == Directory {
			return fault.Newf(fault.Invalid, "is_directory", "%s is a directory, not a %s.", m.Path, want.Type)
		}
		m.Type = File
		if want.Type == Notebook {
			m.Type = Notebook
		}
		m.Mimetype = nil
		if guess := mimeOf(m.Path); m.Type == File && guess != "" {
			m.Mimetype = &guess
		}
	}
	switch want.Format {
	case "", Text, Base64, JSON:
		return nil
	}
	return fault.Newf(fault.Invalid, "bad_format", "Format %q is not one of text, base64, json.", want.Format)
}

// load reads the content. A notebook is not locked for it: saves replace the file in one step.
func (t *Tree) load(m *Model, want Want) error {
	data, info, err := t.read(m.Path)
	if err != nil {
		return err
	}
	// What was read is what is described, even if the file was replaced in between.
	size := int64(len(data))
	m.Size, m.LastModified, m.Created = &size, Time(info.ModTime()), changed(info)
	if want.Hash {
		m.Hash, m.HashAlgorithm = t.shownHash(m.Path, sum(data)), "sha256"
	}
	if m.Type == Notebook {
		done, err := t.budget.parse(context.Background(), data)
		if err != nil {
			return err
		}
		defer done()
		return loadNotebook(m, data, want)
	}
	return loadFile(m, data, want.Format)
}

func loadNotebook(m *Model, data []byte, want Want) error {
	nb, err := parseNotebook(data)
	if err != nil {
		return err
	}
	m.Message = invalid(&nb)
	distrust(&nb)
	var inFile map[string]Sum
	if want.Overlay != nil && want.Overlay.Lays(m.Path) {
		plain := nb.appendCompact(make([]byte, 0, len(data)))
		if laid := want.Overlay.Loaded(m.Path, plain); !bytes.Equal(laid, plain) {
			inFile = sumsOf(&nb)
			if nb, err = parseNotebook(laid); err != nil {
				return fault.Wrap(fault.Internal, "overlay", "The notebook's outputs could not be laid over it.", err)
			}
		}
	}
	if err := mark(&nb, inFile, want.Trust); err != nil {
		return err
	}
	m.Content = nb.appendCompact(make([]byte, 0, len(data)))
	m.Format = ref(JSON)
	return nil
}

func loadFile(m *Model, data []byte, format string) error {
	isText := utf8.Valid(data)
	switch {
	case format == JSON:
		return fault.New(fault.Invalid, "bad_format", "A file can be had as text or as base64, not as json.")
	case format == Text && !isText:
		return fault.Newf(fault.Invalid, "not_utf8", "%s is not UTF-8 encoded.", m.Path)
	case format == Base64 || !isText:
		m.Format = ref(Base64)
		m.Content = make([]byte, base64.StdEncoding.EncodedLen(len(data))+2)
		base64.StdEncoding.Encode(m.Content[1:], data)
		m.Content[0], m.Content[len(m.Content)-1] = '"', '"'
	default:
		m.Format = ref(Text)
		m.Content = quoted(data)
	}
	if m.Mimetype == nil {
		m.Mimetype = ref(map[bool]string{true: "text/plain", false: "application/octet-stream"}[*m.Format == Text])
	}
	return nil
}

// hash fills in the hash without holding the file in memory.
func (t *Tree) hash(m *Model) error {
	f, _, err := t.openRegular(m.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return classed(m.Path, err)
	}
	m.Hash, m.HashAlgorithm = t.shownHash(m.Path, hex.EncodeToString(h.Sum(nil))), "sha256"
	return nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// list fills in a directory's entries: the files and directories that are not hidden. What else is
// there (FIFOs, dangling links, names that are not UTF-8) a browser cannot open, and is left out.
func (t *Tree) list(m *Model) error {
	names, dir, err := t.names(m.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	out := []byte{'['}
	for _, name := range names {
		if unlisted(name) {
			continue
		}
		info, err := t.entry(dir, m.Path, name)
		if err != nil {
			continue
		}
		place := join1(m.Path, name)
		if len(out) > 1 {
			out = append(out, ',')
		}
		if out, err = t.describe(place, info).AppendJSON(out); err != nil {
			return err
		}
	}
	m.Content, m.Format = append(out, ']'), ref(JSON)
	return nil
}

// unlisted says which names a listing spares people: by-products, as Jupyter does, and our own files that
// are being written. They can be opened by name.
func unlisted(name string) bool {
	return name == "__pycache__" || name == ".DS_Store" || name == checkpointDir || strings.HasSuffix(name, "~") ||
		strings.HasSuffix(name, ".pyc") || strings.HasSuffix(name, ".pyo") || isTemp(name)
}

// names reads the visible names of a directory, at most maxEntries: a kernel may have made any number.
func (t *Tree) names(place string) ([]string, *os.Root, error) {
	dir, err := t.root.OpenRoot(at(place))
	if err != nil {
		return nil, nil, classed(place, err)
	}
	f, err := dir.Open(".")
	if err != nil {
		dir.Close()
		return nil, nil, classed(place, err)
	}
	defer f.Close()
	var names []string
	for len(names) < t.maxEntries {
		batch, err := f.Readdirnames(4096)
		for _, name := range batch {
			if isTemp(name) {
				sweep(dir, name)
				continue
			}
			if utf8.ValidString(name) && (t.hidden || name[0] != '.') {
				names = append(names, name)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			dir.Close()
			return nil, nil, classed(place, err)
		}
	}
	return names, dir, nil
}

// entry looks at one name of an open directory; links are followed, but only inside the tree.
func (t *Tree) entry(dir *os.Root, place, name string) (fs.FileInfo, error) {
	info, err := dir.Lstat(name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		info, err = t.root.Stat(join1(place, name))
	}
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = syscall.ENXIO
	}
	return info, err
}

func join1(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// sizeOf is the length of a file in bytes, 0 for what is none.
func (t *Tree) sizeOf(p string) int64 {
	place, err := t.place(p)
	if err != nil {
		return 0
	}
	info, err := t.root.Stat(at(place))
	if err != nil || !info.Mode().IsRegular() || info.Size() > t.maxContent { // that is refused unread
		return 0
	}
	return info.Size()
}

// Exists says whether there is something at an API path, links followed.
func (t *Tree) Exists(p string) bool {
	place, err := t.place(p)
	if err != nil {
		return false
	}
	_, err = t.root.Stat(at(place))
	return err == nil
}
