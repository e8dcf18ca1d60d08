package criu

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/crit"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fdinfo"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/fown"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/pipe"
	"github.com/checkpoint-restore/go-criu/v8/crit/images/regfile"
)

// open is one file that the dump holds open; size < 0: CRIU noted none.
type open struct {
	name string
	size int64
}

// dump writes a files.img as CRIU does: the files given, and a pipe.
func dump(t *testing.T, files ...open) string {
	t.Helper()
	dir := t.TempDir()
	img := &crit.CriuImage{Magic: "FILES", EntryType: &fdinfo.FileEntry{}}
	owner := &fown.FownEntry{Uid: new(uint32(0)), Euid: new(uint32(0)), Signum: new(uint32(0)), PidType: new(uint32(0)), Pid: new(uint32(0))}
	for i, f := range files {
		reg := &regfile.RegFileEntry{
			Id: new(uint32(i + 1)), Flags: new(uint32(0)), Pos: new(uint64(3)), Fown: owner, Name: new(f.name),
		}
		if f.size >= 0 {
			reg.Size = new(uint64(f.size))
		}
		img.Entries = append(img.Entries, &crit.CriuEntry{Message: &fdinfo.FileEntry{Type: fdinfo.FdTypes_REG.Enum(), Id: reg.Id, Reg: reg}})
	}
	img.Entries = append(img.Entries, &crit.CriuEntry{Message: &fdinfo.FileEntry{
		Type: fdinfo.FdTypes_PIPE.Enum(), Id: new(uint32(99)),
		Pipe: &pipe.PipeEntry{Id: new(uint32(99)), PipeId: new(uint32(5)), Flags: new(uint32(0)), Fown: owner},
	}})
	f, err := os.Create(filepath.Join(dir, "files.img"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := crit.New(nil, f, "", false, false).Encode(img); err != nil {
		t.Fatal(err)
	}
	return dir
}

func modeless(list []Changed) (out []Changed) {
	for _, c := range list {
		c.mode = 0
		out = append(out, c)
	}
	return out
}

// sizes reads the dump's files back: name to size and position.
func sizes(t *testing.T, dir string) map[string]uint64 {
	t.Helper()
	img, err := decode(filepath.Join(dir, "files.img"), &fdinfo.FileEntry{})
	if err != nil {
		t.Fatal(err)
	}
	out, pipes := map[string]uint64{}, 0
	for _, e := range img.Entries {
		f := e.Message.(*fdinfo.FileEntry)
		if f.GetPipe() != nil {
			pipes++
			continue
		}
		if f.GetReg().GetPos() != 3 {
			t.Errorf("%s: position %d", f.GetReg().GetName(), f.GetReg().GetPos())
		}
		out[f.GetReg().GetName()] = f.GetReg().GetSize()
	}
	if pipes != 1 {
		t.Errorf("%d pipes in the dump, want the 1 there was", pipes)
	}
	return out
}

// project is a machine's folder that a container sees as /home.
func project(t *testing.T, files map[string]string) (top string, onMachine func(string) (string, string)) {
	t.Helper()
	top = t.TempDir()
	for name, text := range files {
		file := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top, func(name string) (string, string) {
		if rel, err := filepath.Rel("/home", name); err == nil && filepath.IsLocal(rel) {
			return top, rel
		}
		return "", ""
	}
}

func TestAdoptSizes(t *testing.T) {
	_, onMachine := project(t, map[string]string{"grown": "1234567", "shrunk": "", "sub/same": "12"})
	dir := dump(t, open{"/home/grown", 3}, open{"/usr/lib/x.so", 7}, open{"/home/shrunk", 4}, open{"/home/sub/same", 2}, open{"/home/unsized", -1})
	changed, err := AdoptSizes(dir, onMachine, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []Changed{{Name: "/home/grown", Was: 3, Is: 7}, {Name: "/home/shrunk", Was: 4, Is: 0}}; !reflect.DeepEqual(modeless(changed), want) {
		t.Errorf("changed %+v, want %+v", changed, want)
	}
	want := map[string]uint64{"/home/grown": 7, "/usr/lib/x.so": 7, "/home/shrunk": 0, "/home/sub/same": 2, "/home/unsized": 0}
	if got := sizes(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("sizes %v, want %v", got, want)
	}
	if changed, err := AdoptSizes(dir, onMachine, nil); err != nil || changed != nil {
		t.Errorf("a second time: %+v, %v", changed, err)
	}
}

func TestAFileThatIsGoneIsMadeAnew(t *testing.T) {
	top, onMachine := project(t, nil)
	dir := dump(t, open{"/home/gone", 9}, open{"/home/a/b/gone", 1}, open{"/home/gone", 9})
	changed, err := AdoptSizes(dir, onMachine, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(changed) != 3 || !changed[0].Gone || !changed[1].Gone || changed[2].Is != 0 {
		t.Errorf("changed %+v", changed)
	}
	for _, name := range []string{"gone", "a/b/gone"} {
		if st, err := os.Stat(filepath.Join(top, name)); err != nil || st.Size() != 0 || !st.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if got := sizes(t, dir); got["/home/gone"] != 0 || got["/home/a/b/gone"] != 0 {
		t.Errorf("sizes %v", got)
	}
}

// TestModes: a file may have got other permissions, and one that is made anew has
// those that it had; CRIU compares them.
func TestModes(t *testing.T) {
	top, onMachine := project(t, map[string]string{"changed": "1", "same": "1"})
	dir := dump(t, open{"/home/changed", 1}, open{"/home/same", 1}, open{"/home/gone", 1})
	name := filepath.Join(dir, "files.img")
	img, err := decode(name, &fdinfo.FileEntry{})
	if err != nil {
		t.Fatal(err)
	}
	regs := map[string]*regfile.RegFileEntry{}
	read := func() {
		for _, e := range img.Entries {
			if reg := e.Message.(*fdinfo.FileEntry).GetReg(); reg != nil {
				regs[reg.GetName()] = reg
			}
		}
	}
	read()
	regs["/home/changed"].Mode = new(uint32(0o100600))
	regs["/home/same"].Mode = new(uint32(0o100644))
	regs["/home/gone"].Mode = new(uint32(0o104750))
	if err := encode(name, img); err != nil {
		t.Fatal(err)
	}
	changed, err := AdoptSizes(dir, onMachine, nil)
	if err != nil || len(changed) != 2 {
		t.Errorf("changed %+v, %v", changed, err)
	}
	if img, err = decode(name, &fdinfo.FileEntry{}); err != nil {
		t.Fatal(err)
	}
	read()
	for name, want := range map[string]uint32{"changed": 0o100644, "same": 0o100644, "gone": 0o100750} {
		st, err := os.Stat(filepath.Join(top, name))
		if got := regs["/home/"+name].GetMode(); got != want || err != nil || uint32(st.Mode()) != want&0o777 {
			t.Errorf("%s: mode %o in the dump, %v on the disk, %v; want %o", name, got, st.Mode(), err, want)
		}
	}
}

func TestNothingChangedLeavesTheDumpAlone(t *testing.T) {
	_, onMachine := project(t, map[string]string{"same": "12"})
	dir := dump(t, open{"/home/same", 2}, open{"/elsewhere", 5})
	name := filepath.Join(dir, "files.img")
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	was, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := AdoptSizes(dir, onMachine, nil); err != nil || changed != nil {
		t.Errorf("%+v, %v", changed, err)
	}
	after, err := os.ReadFile(name)
	is, _ := os.Stat(name)
	if err != nil || !bytes.Equal(before, after) || !os.SameFile(was, is) {
		t.Errorf("files.img was written anew: %v", err)
	}
}

// TestLinksLeadNowhere: a person's links neither show nor make files outside.
func TestLinksLeadNowhere(t *testing.T) {
	for name, c := range map[string]struct {
		link, target string // below the project; target below what is outside
		file         string
	}{
		"the file is a link":                     {"data", "secret", "/home/data"},
		"the file is a link to a file not there": {"data", "new", "/home/data"},
		"a folder is a link":                     {"sub", ".", "/home/sub/secret"},
		"a folder, the file not there":           {"sub", ".", "/home/sub/new"},
	} {
		outside := t.TempDir()
		if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
		top, onMachine := project(t, nil)
		if err := os.Symlink(filepath.Join(outside, c.target), filepath.Join(top, c.link)); err != nil {
			t.Fatal(err)
		}
		dir := dump(t, open{c.file, 1})
		changed, _ := AdoptSizes(dir, onMachine, nil) // whether it fails is of no matter here
		if len(changed) != 0 || sizes(t, dir)[c.file] != 1 {
			t.Errorf("%s: changed %+v", name, changed)
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
			t.Errorf("%s: outside there are %v, %v", name, entries, err)
		}
	}
}

func TestAFolderInAFilesPlaceIsLeft(t *testing.T) {
	_, onMachine := project(t, map[string]string{"dir/x": ""})
	if changed, err := AdoptSizes(dump(t, open{"/home/dir", 5}), onMachine, nil); err != nil || changed != nil {
		t.Errorf("%+v, %v", changed, err)
	}
}

func TestADumpThatCannotBeRead(t *testing.T) {
	if _, err := AdoptSizes(t.TempDir(), nil, nil); !os.IsNotExist(err) {
		t.Errorf("no files.img: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "files.img"), []byte("no dump file at all"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := AdoptSizes(dir, nil, nil); err == nil {
		t.Error("garbage was read")
	}
}

// A file that went elsewhere is held there: what is in its old place since is
// another one.
func TestAFileThatMoved(t *testing.T) {
	top, onMachine := project(t, map[string]string{"aside/x.so": "12345", "aside/y.so": "12345", "y.so": "another", "aside/z.so": "1"})
	dir := dump(t, open{"/home/x.so", 5}, open{"/home/y.so", 5}, open{"/home/z.so", 5})
	moved := func(name string, size uint64) string {
		now := "/home/aside/" + filepath.Base(name)
		if st, err := os.Stat(filepath.Join(top, "aside", filepath.Base(name))); err != nil || uint64(st.Size()) != size {
			return ""
		}
		return now
	}
	changed, err := AdoptSizes(dir, onMachine, moved)
	if err != nil || len(changed) != 3 || changed[0].Now != "/home/aside/x.so" || changed[0].Gone || !changed[2].Gone {
		t.Errorf("changed %+v, %v", changed, err)
	}
	want := map[string]uint64{"/home/aside/x.so": 5, "/home/aside/y.so": 5, "/home/z.so": 0}
	if got := sizes(t, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	held, err := Holds(dir)
	if err != nil || len(held) != 3 || held[1] != (Held{"/home/aside/y.so", 5}) {
		t.Errorf("held: %+v, %v", held, err)
	}
}
