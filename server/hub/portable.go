package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Portable says what of a kernel's variables a checkpoint of kind variables
// holds, and what not. All of it is the kernel's own word.
type Portable struct {
	Python   string            `json:"python" doc:"the version they were kept with"`
	Packages map[string]string `json:"packages" doc:"the packages they are made of, and their versions"`
	Kept     []PortableItem    `json:"kept"`
	Left     []PortableItem    `json:"left" doc:"what cannot be kept this way, with the reason"`
	Imports  int               `json:"imports" doc:"names of modules, which are imported again"`
}

// PortableItem is one variable of such a checkpoint.
type PortableItem struct {
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"`
	Size   int64  `json:"size,omitempty" doc:"bytes"`
	Reason string `json:"reason,omitempty"`
}

// Brought says what came of bringing variables back.
type Brought struct {
	Came   int            `json:"came"`
	Failed []PortableItem `json:"failed" doc:"what was kept and could not be made again, with the reason"`
	Left   []PortableItem `json:"left" doc:"what was not kept in the first place"`
	Other  []string       `json:"other,omitempty" doc:"what differs from when they were kept, such as a package's version"`
}

var errNoProcess = fault.New(fault.Unsupported, "no_process", "This checkpoint holds variables one by one, and no process to go on with. Apply it: the kernel starts afresh with them.")

const (
	portableName = "variables.bin"
	// In a project's home, as long as they are on their way: see sweepVariables.
	variablesPrefix = "variables-"
	portableFor     = 10 * time.Minute
	portableRoom    = 64 << 30
	maxPortable     = 5000
	maxPortableIn   = 8 << 20 // bytes of a report
)

// KeepVariables keeps a kernel's variables one by one, as a checkpoint that any
// Python kernel can take up: one of another image, on another kind of machine. The
// kernel runs the person's code for it, between cells, and goes on.
func (h *Hub) KeepVariables(ctx context.Context, l *Live, name string, o *Operation) (Checkpoint, Portable, error) {
	var none Portable
	if name != "" {
		var err error
		if name, err = checkName(name); err != nil {
			return Checkpoint{}, none, err
		}
	}
	if l.Record().State == kernel.Hibernated {
		o.Step(0.05, "Waking the kernel")
		if err := h.Resume(ctx, l, nil); err != nil {
			return Checkpoint{}, none, err
		}
	}
	release, err := l.take(ctx) // nobody freezes or moves it meanwhile
	if err != nil {
		return Checkpoint{}, none, err
	}
	defer release()
	p, err := h.Store.Project(ctx, l.Project())
	if err != nil {
		return Checkpoint{}, none, err
	}
	if err := h.MayAdd(ctx, p); err != nil {
		return Checkpoint{}, none, err
	}
	c := h.newCheckpoint(l, KindVariables, name)
	c.Pinned = true
	dir := h.vaultDir(c.ID)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return c, none, err
	}
	o.Step(0.1, "Keeping the variables one by one")
	report, err := h.exportVariables(ctx, l, p, filepath.Join(dir, portableName))
	if err == nil {
		err = h.step("variables.written")
	}
	if err == nil {
		o.Step(0.9, "Writing it down")
		c, err = h.finishVariables(ctx, l, p, c, report)
	}
	if err == nil {
		err = h.Store.PutCheckpoint(context.WithoutCancel(ctx), c)
	}
	if err != nil {
		os.RemoveAll(dir)
	}
	return c, report, err
}

// exportVariables has the kernel write its variables into its home, and takes the
// file from there.
func (h *Hub) exportVariables(ctx context.Context, l *Live, p Project, to string) (report Portable, err error) {
	home, err := h.home(p)
	if err != nil {
		return report, err
	}
	defer home.Close()
	place := path.Join(asideTop, variablesPrefix+newID())
	defer home.Remove(place)
	if err := h.ownFolder(home, p, asideTop); err != nil {
		return report, err
	}
	free, err := freeBytes(h.Data)
	if err != nil {
		return report, err
	}
	if free /= 2; free < reserve { // it is there twice for a moment
		return report, room(h.Data, reserve)
	}
	answer, err := l.askFor(ctx, fmt.Sprintf("__import__('cellar_kernel.portable').portable.save(%q, %d, %d)",
		path.Join(homeTarget, place), min(free-reserve, portableRoom), int(portableFor.Seconds())), portableFor+time.Minute)
	if err != nil {
		if ctx.Err() != nil { // nobody waits for it any more, and it holds up the next cell
			err = errors.Join(err, l.Interrupt(context.WithoutCancel(ctx)))
		}
		return report, err
	}
	if len(answer) > maxPortableIn || json.Unmarshal([]byte(answer), &report) != nil {
		return report, fault.New(fault.Unavailable, "kernel_answer", "The kernel's answer could not be read.")
	}
	report.bound()
	in, err := home.OpenFile(place, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return report, err
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > free {
		return report, fault.New(fault.Unavailable, "kernel_answer", "The kernel wrote no file of its variables.")
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return report, err
	}
	defer out.Close()
	if _, err := io.Copy(out, io.LimitReader(in, free)); err != nil {
		return report, err
	}
	return report, out.Close()
}

// finishVariables writes the notebook and the description beside the variables.
func (h *Hub) finishVariables(ctx context.Context, l *Live, p Project, c Checkpoint, report Portable) (Checkpoint, error) {
	dir := h.vaultDir(c.ID)
	if nb := h.notebookBytes(ctx, p, c.Notebook); nb != nil {
		if err := os.WriteFile(filepath.Join(dir, "notebook.ipynb"), nb, 0o600); err != nil {
			return c, err
		}
	}
	var err error
	if c.Size, err = sizeOf(dir); err != nil {
		return c, err
	}
	c.Added = c.Size
	rec := l.Record()
	m := manifest{Checkpoint: c, Boot: bootID(), Spec: rec.Spec, Dir: rec.Dir, Configuration: rec.Configuration, Portable: &report}
	for _, v := range report.Kept {
		m.Variables = append(m.Variables, Variable{Name: v.Name, Type: v.Type, Size: v.Size})
	}
	b, err := json.Marshal(m)
	if err != nil {
		return c, err
	}
	return c, writeSynced(filepath.Join(dir, manifestName), b)
}

// BringVariables puts the variables of such a checkpoint into the kernel they came
// from, started afresh: what it held is kept first, as with any restart.
func (h *Hub) BringVariables(ctx context.Context, p Project, c Checkpoint, notebook bool, o *Operation) (b Brought, err error) {
	l, err := h.Live(p.ID, c.Kernel)
	if err != nil {
		return b, fault.New(fault.Conflict, "kernel_gone", "The kernel these variables came from was shut down.")
	}
	o.Step(0.05, "Fetching the variables")
	giveBack, err := h.borrow(ctx, p.ID, c.ID)
	if err != nil {
		return b, err
	}
	defer giveBack()
	m, err := h.readManifest(c.ID)
	if err != nil {
		return b, err
	}
	if m.Portable == nil {
		return b, fault.New(fault.Unsupported, "no_variables", "This checkpoint does not hold variables one by one.")
	}
	if rec := l.Record(); rec.State != kernel.Running || !l.unused() {
		o.Step(0.1, "Starting the kernel afresh")
		if err := h.Restart(ctx, l); err != nil {
			return b, err
		}
	}
	if err := l.begun(ctx); err != nil {
		return b, err
	}
	release, err := l.take(ctx)
	if err != nil {
		return b, err
	}
	defer release()
	if notebook {
		if err := h.filesBack(ctx, p, c); err != nil {
			return b, err
		}
	}
	o.Step(0.4, "Making the variables again")
	b, err = h.importVariables(ctx, l, p, filepath.Join(h.vaultDir(c.ID), portableName))
	b.Left = m.Portable.Left
	if err == nil {
		b.Other = h.others(ctx, l, *m.Portable)
		l.mu.Lock()
		l.fresh = false
		l.mu.Unlock()
	}
	return b, err
}

func (h *Hub) importVariables(ctx context.Context, l *Live, p Project, from string) (b Brought, err error) {
	home, err := h.home(p)
	if err != nil {
		return b, err
	}
	defer home.Close()
	in, err := os.Open(from)
	if err != nil {
		return b, err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return b, err
	}
	if err := room(h.Data, st.Size()); err != nil {
		return b, err
	}
	if err := h.ownFolder(home, p, asideTop); err != nil {
		return b, err
	}
	place := path.Join(asideTop, variablesPrefix+newID())
	defer home.Remove(place)
	out, err := home.OpenFile(place, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return b, err
	}
	defer out.Close()
	if err := out.Chown(p.FileOwner(), p.FileOwner()); err != nil {
		return b, err
	}
	if _, err := io.Copy(out, in); err != nil {
		return b, err
	}
	if err := out.Close(); err != nil {
		return b, err
	}
	answer, err := l.askFor(ctx, fmt.Sprintf("__import__('cellar_kernel.portable').portable.load(%q)", path.Join(homeTarget, place)), portableFor)
	if err != nil {
		return b, err
	}
	var said struct {
		Came   []string       `json:"came"`
		Failed []PortableItem `json:"failed"`
	}
	if len(answer) > maxPortableIn || json.Unmarshal([]byte(answer), &said) != nil {
		return b, fault.New(fault.Unavailable, "kernel_answer", "The kernel's answer could not be read.")
	}
	return Brought{Came: len(said.Came), Failed: boundItems(said.Failed)}, nil
}

// others compares the versions that variables were kept with to those that are
// there now.
func (h *Hub) others(ctx context.Context, l *Live, then Portable) (out []string) {
	answer, err := l.Ask(ctx, "__import__('cellar_kernel.portable').portable.versions()")
	var now Portable
	if err != nil || json.Unmarshal([]byte(answer), &now) != nil {
		return nil
	}
	now.bound()
	if now.Python != then.Python {
		out = append(out, fmt.Sprintf("Python was %s and is %s", then.Python, now.Python))
	}
	for name, version := range then.Packages {
		if other, ok := now.Packages[name]; ok && other != version {
			out = append(out, fmt.Sprintf("%s was %s and is %s", name, version, other))
		}
	}
	return out
}

// sweepVariables removes what a hub before this one left on its way between a
// project's home and the vault. It runs before anybody can send more that way.
func (h *Hub) sweepVariables() {
	homes, _ := filepath.Glob(filepath.Join(h.Data, "projects", "*", "home"))
	for _, dir := range homes {
		if err := sweepIn(dir); err != nil {
			h.Log.Warn("variables on their way not removed", "home", dir, "error", err)
		}
	}
}

func sweepIn(home string) error {
	root, err := os.OpenRoot(home) // a kernel could put a link there: none leads out
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := openAside(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(maxAsides * 100)
	for _, name := range names {
		if strings.HasPrefix(name, variablesPrefix) {
			err = errors.Join(err, root.Remove(path.Join(asideTop, name)))
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// ownFolder makes a folder in a project's home that belongs to its kernels.
func (h *Hub) ownFolder(home *os.Root, p Project, name string) error {
	if err := home.Mkdir(name, 0o755); err == nil {
		return home.Lchown(name, p.FileOwner(), p.FileOwner())
	}
	st, err := home.Lstat(name)
	if err == nil && !st.IsDir() {
		err = fault.Newf(fault.Conflict, "in_the_way", "~/%s in the project's home is no folder. Remove it and try again.", name)
	}
	return err
}

// bound cuts a kernel's report to what is to be kept and shown of it.
func (r *Portable) bound() {
	r.Kept, r.Left = boundItems(r.Kept), boundItems(r.Left)
	r.Python = oneLine(r.Python)
	packages := map[string]string{}
	for name, version := range r.Packages {
		if len(packages) < 200 {
			packages[oneLine(name)] = oneLine(version)
		}
	}
	r.Packages = packages
}

func boundItems(list []PortableItem) []PortableItem {
	out := make([]PortableItem, 0, min(len(list), maxPortable))
	for _, v := range list[:min(len(list), maxPortable)] {
		out = append(out, PortableItem{Name: oneLine(v.Name), Type: oneLine(v.Type), Size: max(v.Size, 0), Reason: oneLine(v.Reason)})
	}
	return out
}

// oneLine is a text of a kernel's that can be shown in a line.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
