package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"cellar/checkpoint/vault"
	"cellar/internal/fault"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// memoryKeys are keys in memory, as the database has them.
type memoryKeys map[string][]byte

func (m memoryKeys) Key(_ context.Context, kind, id string) ([]byte, error) {
	if b, ok := m[kind+"/"+id]; ok {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "not_found", "no key")
}

func (m memoryKeys) PutKey(_ context.Context, kind, id string, sealed []byte) error {
	if _, ok := m[kind+"/"+id]; ok {
		return fault.New(fault.Conflict, "conflict", "there is one")
	}
	m[kind+"/"+id] = sealed
	return nil
}

func (m memoryKeys) EachKey(_ context.Context, fn func(kind, id string, sealed []byte) error) error {
	for name, b := range m {
		kind, id, _ := strings.Cut(name, "/")
		if err := fn(kind, id, b); err != nil {
			return err
		}
	}
	return nil
}

func (m memoryKeys) ReplaceKeys(_ context.Context, change func(kind, id string, sealed []byte) ([]byte, error)) error {
	for name, b := range m {
		kind, id, _ := strings.Cut(name, "/")
		sealed, err := change(kind, id, b)
		if err != nil {
			return err
		}
		m[name] = sealed
	}
	return nil
}

func openArchive(t *testing.T, dir string, keys memoryKeys) *Archive {
	t.Helper()
	a := &Archive{Dir: dir, Keys: &Keyring{Master: vault.Key{1}, Store: keys}}
	t.Cleanup(func() { a.Close() })
	return a
}

// region is memory of the process that a test dumps.
type region struct {
	start, pages uint64
	late         bool
}

// dump writes a folder as a frozen kernel leaves one: the pages of its memory stand in the order of its regions.
func dump(t *testing.T, folder string, regions []region, memory []byte) {
	t.Helper()
	for _, dir := range []string{"dump", "journal", "empty"} {
		ok(t, os.MkdirAll(filepath.Join(folder, dir), 0o755))
	}
	b := binary.LittleEndian.AppendUint32(nil, 0x54564319)
	b = binary.LittleEndian.AppendUint32(b, 0x56084025)
	add := func(fields ...uint64) {
		var m []byte
		for i := 0; i < len(fields); i += 2 {
			m = protowire.AppendVarint(protowire.AppendTag(m, protowire.Number(fields[i]), protowire.VarintType), fields[i+1])
		}
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(m))), m...)
	}
	add(1, 3) // pages-3.img
	for _, r := range regions {
		flags := uint64(4) // present
		if r.late {
			flags |= 2
		}
		add(1, r.start, 4, flags, 5, r.pages)
	}
	for name, text := range map[string][]byte{
		"dump/pagemap-7.img": b, "dump/pages-3.img": memory, "dump/inventory.img": []byte("inventory"), "dump/nothing.img": nil,
		"journal/1.journal": bytes.Repeat([]byte("said\n"), 3000), "notebook.ipynb": []byte("{}"), "manifest.json": []byte("{}"),
	} {
		ok(t, os.WriteFile(filepath.Join(folder, name), text, 0o640))
	}
	ok(t, os.Chmod(filepath.Join(folder, "dump/inventory.img"), 0o604))
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// tree describes a folder: names, modes, contents.
func treeOf(t *testing.T, folder string) string {
	t.Helper()
	var out strings.Builder
	ok(t, filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == folder {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(folder, name)
		fmt.Fprintf(&out, "%s %s", rel, st.Mode())
		if !d.IsDir() {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %d %x", len(b), b[:min(len(b), 8)])
			fmt.Fprintf(&out, " %d", crc(b))
		}
		out.WriteByte('\n')
		return nil
	}))
	return out.String()
}

func crc(b []byte) (sum uint64) {
	for _, c := range b {
		sum = sum*1099511628211 + uint64(c) + 1
	}
	return sum
}

func TestAFolderComesBackAsItWas(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	a := openArchive(t, filepath.Join(dir, "archive"), memoryKeys{})
	p := Place{"ann", "digits", "one"}
	memory := random(1, 3000*vault.PageSize)
	clear(memory[100*vault.PageSize : 200*vault.PageSize])
	dump(t, filepath.Join(dir, "in"), []region{{start: 0x400000, pages: 1000}, {start: 0x7f0000000000, pages: 2000}}, memory)
	size, added, err := a.Save(ctx, p, filepath.Join(dir, "in"), "", []byte(`{"why":"test"}`))
	ok(t, err)
	if size < int64(len(memory)) || added < int64(2800*vault.PageSize) {
		t.Errorf("size %d, added %d", size, added)
	}
	if about, err := a.About(ctx, p); string(about) != `{"why":"test"}` {
		t.Errorf("about: %s, %v", about, err)
	}
	if b, err := a.File(ctx, p, "dump/inventory.img"); string(b) != "inventory" {
		t.Errorf("a file: %q, %v", b, err)
	}
	if _, err := a.File(ctx, p, "dump/none.img"); !errors.Is(err, fault.NotFound) {
		t.Errorf("a file that is not there: %v", err)
	}
	ok(t, a.Load(ctx, p, filepath.Join(dir, "out"), nil))
	if got, want := treeOf(t, filepath.Join(dir, "out")), treeOf(t, filepath.Join(dir, "in")); got != want {
		t.Errorf("came back:\n%s\nwas:\n%s", got, want)
	}
	if _, added, err := a.Save(ctx, p, filepath.Join(dir, "in"), "", nil); err != nil || added != 0 {
		t.Errorf("the same again: %d, %v", added, err)
	}
	stranger := p
	stranger.Tenant = "bob"
	if err := a.Load(ctx, stranger, filepath.Join(dir, "stranger"), nil); err == nil {
		t.Error("another tenant has the checkpoint, too")
	}
	ok(t, a.Delete(ctx, p))
	_, err = a.Collect(ctx, p.Tenant)
	ok(t, err)
	if s, err := a.Stats(ctx, p.Tenant); err != nil || s.Stored > 4096 {
		t.Errorf("after all was deleted: %+v, %v", s, err)
	}
}

// TestMemoryIsStoredByAddress: the same memory at other places of CRIU's file costs next to nothing, and a page that changed a little is stored
// as its difference.
func TestMemoryIsStoredByAddress(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	a := openArchive(t, filepath.Join(dir, "archive"), memoryKeys{})
	memory := random(2, 2000*vault.PageSize)
	dump(t, filepath.Join(dir, "a"), []region{{start: 0x400000, pages: 1000}, {start: 0x7f0000000000, pages: 1000}}, memory)
	// A page more in the first region moves all others; one byte differs in ten pages.
	next := append(random(3, vault.PageSize), memory...)
	for i := range 10 {
		next[(100+i)*vault.PageSize] ^= 1
	}
	dump(t, filepath.Join(dir, "b"), []region{{start: 0x3ff000, pages: 1001}, {start: 0x7f0000000000, pages: 1000}}, next)
	_, _, err := a.Save(ctx, Place{"ann", "p", "a"}, filepath.Join(dir, "a"), "", nil)
	ok(t, err)
	_, added, err := a.Save(ctx, Place{"ann", "p", "b"}, filepath.Join(dir, "b"), "a", nil)
	ok(t, err)
	if added > 30<<10 {
		t.Errorf("%d bytes were added for one page and ten small changes", added)
	}
	_, added, err = a.Save(ctx, Place{"ann", "p", "c"}, filepath.Join(dir, "b"), "gone", nil)
	if err != nil || added > 30<<10 {
		t.Errorf("a base that is not there any more: %d, %v", added, err)
	}
	ok(t, a.Load(ctx, Place{"ann", "p", "b"}, filepath.Join(dir, "out"), nil))
	if got, want := treeOf(t, filepath.Join(dir, "out")), treeOf(t, filepath.Join(dir, "b")); got != want {
		t.Errorf("came back:\n%s\nwas:\n%s", got, want)
	}
}

// TestHostileDescription: whoever could seal a description still cannot have anything written outside the folder.
func TestHostileDescription(t *testing.T) {
	for _, c := range []contents{
		{Files: []File{{Name: "../out"}}},
		{Files: []File{{Name: "/etc/passwd"}}},
		{Folders: []Folder{{Name: "a/../../b"}}},
		{Files: []File{{Name: "x", Size: -1}}},
		{Files: []File{{Name: "x", Object: 1}}},
		{Files: []File{{Name: "x", Object: -1}}},
	} {
		c.objects = []vault.Object{{}}
		if err := c.check(); fault.CodeOf(err) != "checkpoint_damaged" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestKeyring(t *testing.T) {
	ctx, keys := t.Context(), memoryKeys{}
	k := &Keyring{Master: vault.Key{1}, Store: keys}
	ann, err := k.Tenant(ctx, "ann")
	ok(t, err)
	again, err := (&Keyring{Master: vault.Key{1}, Store: keys}).Tenant(ctx, "ann")
	if err != nil || again != ann {
		t.Errorf("another key after a restart: %v", err)
	}
	project, err := k.Project(ctx, "ann")
	if err != nil || project == ann {
		t.Errorf("a tenant and a project of one name share a key: %v", err)
	}
	if bytes.Contains(keys["tenant/ann"], ann[:]) {
		t.Error("the key is kept as it is")
	}
	other := &Keyring{Master: vault.Key{2}, Store: keys}
	if _, err := other.Tenant(ctx, "ann"); fault.CodeOf(err) != "master_key" {
		t.Errorf("another master key: %v", err)
	}
	keys["tenant/bob"] = keys["tenant/ann"]
	if _, err := k.Tenant(ctx, "bob"); fault.CodeOf(err) != "master_key" {
		t.Errorf("the key of another: %v", err)
	}
	delete(keys, "tenant/bob")
	ok(t, k.Rotate(ctx, vault.Key{2}))
	if got, err := other.Tenant(ctx, "ann"); err != nil || got != ann {
		t.Errorf("after a rotation: %v", err)
	}
}

func TestMasterKey(t *testing.T) {
	ctx, keys := t.Context(), memoryKeys{}
	file := filepath.Join(t.TempDir(), "master.key")
	first, err := OpenKeyring(ctx, file, keys)
	ok(t, err)
	st, err := os.Stat(file)
	ok(t, err)
	if again, err := OpenKeyring(ctx, file, keys); err != nil || again.Master != first.Master || st.Mode().Perm() != 0o600 {
		t.Errorf("opened again: %v, mode %s", err, st.Mode())
	}
	_, err = first.Tenant(ctx, "ann")
	ok(t, err)
	_, err = OpenKeyring(ctx, file, keys)
	ok(t, err)
	other := filepath.Join(t.TempDir(), "other.key")
	if _, err := OpenKeyring(ctx, other, keys); err == nil {
		t.Error("a new key was made although another one is needed")
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("a file was made for it")
	}
	ok(t, writeKey(other, vault.Key{9}))
	if _, err := OpenKeyring(ctx, other, keys); fault.CodeOf(err) != "master_key" {
		t.Errorf("another master key: %v", err)
	}
	for _, bad := range []string{"", "xyz", strings.Repeat("0", 63), strings.Repeat("0", 66)} {
		ok(t, os.WriteFile(file, []byte(bad), 0o600))
		if _, err := OpenKeyring(ctx, file, keys); err == nil {
			t.Errorf("%q is taken for a key", bad)
		}
	}
}
