package tree

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cellar/checkpoint/vault"
	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// place is a vault and a folder to take snapshots of.
type place struct {
	t    testing.TB
	v    *vault.Vault
	dir  string
	root *os.Root
	lim  Limits

	later time.Duration
}

var projectKey = vault.Key{2}

func newPlace(t testing.TB, limit func(context.Context, int) error) *place {
	store, err := blob.OpenDisk(t.TempDir())
	ok(t, err)
	v, err := vault.Open(t.Context(), store, vault.Key{1}, vault.Options{Limit: limit})
	ok(t, err)
	p := &place{t: t, v: v, dir: t.TempDir()}
	p.root, err = os.OpenRoot(p.dir)
	ok(t, err)
	t.Cleanup(func() { p.root.Close(); v.Close() })
	return p
}

func (p *place) taking() Taking {
	return Taking{Tops: []Top{{Name: "files", Root: p.root, Limits: p.lim}}, Skip: func(n string) bool { return n == "__pycache__" }, begun: time.Now().Add(p.later)}
}

func (p *place) write(name, text string) {
	p.t.Helper()
	full := filepath.Join(p.dir, name)
	ok(p.t, os.MkdirAll(filepath.Dir(full), 0o755))
	ok(p.t, os.WriteFile(full, []byte(text), 0o644))
}

// settle has snapshots taken as if nothing had been changed for a while: what was
// written just now is read again otherwise, to be sure.
func (p *place) settle() { p.later = time.Hour }

func (p *place) save(name, base string) (*Snapshot, Summary, int64) {
	p.t.Helper()
	sum, added, err := Save(p.t.Context(), p.v, name, projectKey, base, p.taking())
	ok(p.t, err)
	s, err := Open(p.t.Context(), p.v.Reader, name, projectKey)
	ok(p.t, err)
	return s, sum, added
}

func (p *place) text(s *Snapshot, name string) string {
	p.t.Helper()
	e, found := s.Find("files/" + name)
	if !found || !e.HasContent() {
		p.t.Fatalf("%s: found %v, %+v", name, found, e)
	}
	b, err := io.ReadAll(s.Content(p.t.Context(), e))
	ok(p.t, err)
	return string(b)
}

func random(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

// TestHostileTree: what a stranger can put into a folder is listed, bounded, and
// leads nowhere.
func TestHostileTree(t *testing.T) {
	p := newPlace(t, nil)
	outside := filepath.Join(t.TempDir(), "secret")
	ok(t, os.WriteFile(outside, []byte("secret"), 0o644))
	p.write("a.txt", "hello")
	p.write("empty", "")
	p.write("folder/b.bin", random(1, 3*vault.PageSize+17))
	p.write("bad \xff\xfe\n\"name\"", "bytes")
	p.write("__pycache__/x.pyc", "derived")
	ok(t, os.Mkdir(filepath.Join(p.dir, "void"), 0o750))
	ok(t, os.Symlink(outside, filepath.Join(p.dir, "leak")))
	ok(t, os.Symlink("/", filepath.Join(p.dir, "folder", "up")))
	ok(t, os.Symlink("loop", filepath.Join(p.dir, "loop")))
	ok(t, unix.Mkfifo(filepath.Join(p.dir, "pipe"), 0o644))
	l, err := net.Listen("unix", filepath.Join(p.dir, "sock"))
	ok(t, err)
	defer l.Close()
	ok(t, os.MkdirAll(filepath.Join(p.dir, strings.Repeat("d/", maxDepth+5)), 0o755))
	sparse := filepath.Join(p.dir, "sparse")
	p.write("sparse", "")
	ok(t, os.Truncate(sparse, 20<<20))
	p.write("locked", "x")
	ok(t, os.Chmod(filepath.Join(p.dir, "locked"), 0o4755))

	s, sum, _ := p.save("one", "")
	for name, want := range map[string]string{"a.txt": "hello", "empty": "", "folder/b.bin": random(1, 3*vault.PageSize+17), "bad \xff\xfe\n\"name\"": "bytes"} {
		if got := p.text(s, name); got != want {
			t.Errorf("%q: %d bytes, not %d", name, len(got), len(want))
		}
	}
	for name, why := range map[string]Why{"pipe": Special, "sock": Special} {
		if e, found := s.Find("files/" + name); !found || e.Kind != Other || e.Why != why {
			t.Errorf("%s: %v %+v", name, found, e)
		}
	}
	if e, _ := s.Find("files/leak"); e.Kind != Link || e.Target != outside {
		t.Errorf("a link out: %+v", e)
	}
	if _, found := s.Find("files/folder/up/etc"); found {
		t.Error("a link was followed")
	}
	if _, found := s.Find("files/__pycache__"); found {
		t.Error("what is to be skipped is there")
	}
	deep := slices.IndexFunc(s.Entries, func(e Entry) bool { return e.Why == TooDeep })
	if deep < 0 || sum.Left != 3 {
		t.Errorf("too deep at %d; %d left out", deep, sum.Left)
	}
	if got := p.text(s, "sparse"); got != string(make([]byte, 20<<20)) {
		t.Error("a file of nothing is not")
	}
	// All of it comes back elsewhere.
	to := Target{Root: must(os.OpenRoot(t.TempDir()))(t), Owner: os.Getuid(), Present: Refuse}
	for _, e := range s.Entries {
		rel, _ := e.Below("files")
		if e.Why != Kept {
			if _, err := s.Restore(t.Context(), e, to, rel); fault.ClassOf(err) != fault.Unsupported {
				t.Errorf("%q, which is not kept: %v", rel, err)
			}
			continue
		}
		_, err := s.Restore(t.Context(), e, to, rel)
		ok(t, err)
	}
	st, err := to.Root.Stat("locked")
	ok(t, err)
	if st.Mode() != 0o755 {
		t.Errorf("mode %v came back", st.Mode())
	}
	now, _, err := Look(t.Context(), Taking{Tops: []Top{{Name: "files", Root: to.Root}}})
	ok(t, err)
	changes, err := Compare(s.Entries, now, SamePresent(t.Context(), []Top{{Name: "files", Root: to.Root}}))
	ok(t, err)
	for _, c := range changes {
		if c.Then.Why == Kept && c.Then.Mode&0o7000 == 0 {
			t.Errorf("%q came back otherwise: %s %+v %+v", c.Path, c.How, c.Then, c.Now)
		}
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T { ok(t, err); return v }
}

// TestOnlyWhatChanged: of many files those that changed are read, and nothing else
// is stored again.
func TestOnlyWhatChanged(t *testing.T) {
	p := newPlace(t, nil)
	const many = 3000
	for i := range many {
		p.write(fmt.Sprintf("f%d/%d.txt", i%17, i), random(uint64(i), 200+i%5000))
	}
	p.settle()
	_, first, before := p.save("one", "")
	if first.Files != many || first.Read != many {
		t.Errorf("%+v", first)
	}
	_, same, added := p.save("same", "one")
	if same.Read != 0 || added > 4096 {
		t.Errorf("nothing changed: %d files were read, %d bytes stored", same.Read, added)
	}
	for i := range 10 {
		p.write(fmt.Sprintf("f%d/%d.txt", i%17, i), "other "+random(uint64(i+9999), 700))
	}
	ok(t, os.Remove(filepath.Join(p.dir, "f3/20.txt")))
	p.write("f3/new.txt", "new")
	s, sum, added := p.save("two", "same")
	if sum.Read != 11 || sum.Files != many {
		t.Errorf("%+v", sum)
	}
	if added > before/50 {
		t.Errorf("%d bytes for ten files, %d for all", added, before)
	}
	for i := range 20 {
		want := random(uint64(i), 200+i%5000)
		if i < 10 {
			want = "other " + random(uint64(i+9999), 700)
		}
		if got := p.text(s, fmt.Sprintf("f%d/%d.txt", i%17, i)); got != want {
			t.Errorf("file %d is another", i)
		}
	}
	// The older ones go; what is left is whole, and what they alone had is freed.
	one, err := Open(t.Context(), p.v.Reader, "one", projectKey)
	ok(t, err)
	changes, err := Compare(one.Entries, s.Entries, SameKept)
	ok(t, err)
	if got := len(changes); got != 12+0 { // ten, one gone, one new
		t.Errorf("%d paths differ", got)
	}
	ok(t, p.v.Delete(t.Context(), "one"))
	ok(t, p.v.Delete(t.Context(), "same"))
	_, err = p.v.GC(t.Context())
	ok(t, err)
	for _, e := range s.Entries {
		if !e.HasContent() {
			continue
		}
		h := sha256.New()
		_, err := io.Copy(h, s.Content(t.Context(), e))
		ok(t, err)
		if sumOf(h.Sum(nil)) != e.Sum {
			t.Fatalf("%s is damaged after a collection", e.Path)
		}
	}
	report, err := p.v.Verify(t.Context(), true)
	ok(t, err)
	if len(report.Damage)+len(report.Hurt) > 0 {
		t.Errorf("%+v", report)
	}
}

// TestBaseIsGone: without what it resembles a snapshot is whole all the same.
func TestBaseIsGone(t *testing.T) {
	p := newPlace(t, nil)
	p.write("a", random(1, 10000))
	p.save("one", "")
	ok(t, p.v.Delete(t.Context(), "one"))
	_, err := p.v.GC(t.Context())
	ok(t, err)
	s, sum, _ := p.save("two", "one")
	if sum.Read != 1 || p.text(s, "a") != random(1, 10000) {
		t.Errorf("%+v", sum)
	}
}

// TestRacyChange: a change in the same moment as the snapshot before, of the same
// size and with the same times, is seen.
func TestRacyChange(t *testing.T) {
	p := newPlace(t, nil)
	p.write("a", "one")
	p.save("one", "")
	st, err := os.Stat(filepath.Join(p.dir, "a"))
	ok(t, err)
	p.write("a", "two")
	ok(t, os.Chtimes(filepath.Join(p.dir, "a"), st.ModTime(), st.ModTime()))
	s, sum, _ := p.save("two", "one")
	if sum.Read != 1 || p.text(s, "a") != "two" {
		t.Errorf("%+v", sum)
	}
}

// TestChangesWhileRead: a file that grows while it is read is whole, or said to
// be torn.
func TestChangesWhileRead(t *testing.T) {
	for _, always := range []bool{false, true} {
		var file string
		writes, last := 0, ""
		limit := func(context.Context, int) error {
			if file == "" || writes > 0 && !always {
				return nil
			}
			writes++
			last = strings.Repeat(fmt.Sprintf("%08d", writes), 400_000+writes*1000)
			return os.WriteFile(file, []byte(last), 0o644)
		}
		p := newPlace(t, limit)
		p.write("log", strings.Repeat("00000000", 400_000))
		p.write("other", "quiet")
		file = filepath.Join(p.dir, "log")
		s, sum, _ := p.save("one", "")
		e, _ := s.Find("files/log")
		if writes == 0 || e.Torn != always || sum.Torn != map[bool]int{true: 1}[always] {
			t.Errorf("always %v: %d writes, torn %v, %+v", always, writes, e.Torn, sum)
		}
		if !always && p.text(s, "log") != last {
			t.Error("it is not what was written last")
		}
		if p.text(s, "other") != "quiet" {
			t.Error("another file is torn")
		}
		file = ""
		s, _, _ = p.save("two", "one") // it is read again, and what was loose is emptied
		if p.text(s, "log") != last || len(s.body.Loose) != 0 {
			t.Errorf("always %v: after a rest it is not what is there, or %v is loose", always, s.body.Loose)
		}
	}
}

func TestLimits(t *testing.T) {
	p := newPlace(t, nil)
	p.lim = Limits{File: 1000, Total: 1500}
	p.write("huge", random(1, 1001))
	p.write("large", random(2, 900))
	p.write("middle", random(3, 700))
	p.write("small", random(4, 600))
	s, sum, _ := p.save("one", "")
	why := map[string]Why{}
	for _, e := range s.Entries {
		why[e.Path] = e.Why
	}
	if why["files/huge"] != TooLarge || why["files/large"] != TooMuch || why["files/middle"] != Kept || why["files/small"] != Kept || sum.Left != 2 {
		t.Errorf("%v %+v", why, sum)
	}
	ok(t, os.Truncate(filepath.Join(p.dir, "large"), 10))
	s, sum, _ = p.save("two", "one")
	if e, _ := s.Find("files/large"); e.Why != Kept || sum.Left != 1 || p.text(s, "large") != random(2, 900)[:10] {
		t.Errorf("%+v %+v", e, sum)
	}
}

func TestRestore(t *testing.T) {
	p := newPlace(t, nil)
	p.write("dir/a.tar", "old")
	p.write("plain", "plain")
	s, _, _ := p.save("one", "")
	e, _ := s.Find("files/dir/a.tar")
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(p.dir, name))
		ok(t, err)
		return string(b)
	}
	to := Target{Root: p.root, Owner: os.Getuid(), Durable: true}
	p.write("dir/a.tar", "new")
	if _, err := s.Restore(t.Context(), e, to, "dir/a.tar"); fault.CodeOf(err) != "file_exists" || read("dir/a.tar") != "new" {
		t.Errorf("refused: %v", err)
	}
	to.Present = Aside
	for n, want := range []string{"dir/a (before restore).tar", "dir/a (before restore 2).tar"} {
		p.write("dir/a.tar", fmt.Sprint("new", n))
		aside, err := s.Restore(t.Context(), e, to, "dir/a.tar")
		ok(t, err)
		if aside != want || read(aside) != fmt.Sprint("new", n) || read("dir/a.tar") != "old" {
			t.Errorf("kept as %q", aside)
		}
	}
	st, err := os.Stat(filepath.Join(p.dir, "dir/a.tar"))
	ok(t, err)
	if !st.ModTime().Equal(e.MtimeOf()) {
		t.Error("it has another time")
	}
	to.Present = Replace
	p.write("dir/a.tar", "new")
	_, err = s.Restore(t.Context(), e, to, "dir/a.tar")
	ok(t, err)
	if read("dir/a.tar") != "old" {
		t.Error("not replaced")
	}
	// A link in its place is replaced, one above it is refused.
	outside := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(outside, "a.tar"), []byte("outside"), 0o644))
	ok(t, os.Remove(filepath.Join(p.dir, "dir/a.tar")))
	ok(t, os.Symlink(filepath.Join(outside, "a.tar"), filepath.Join(p.dir, "dir/a.tar")))
	_, err = s.Restore(t.Context(), e, to, "dir/a.tar")
	ok(t, err)
	ok(t, os.RemoveAll(filepath.Join(p.dir, "dir")))
	for _, target := range []string{outside, "elsewhere"} {
		ok(t, os.MkdirAll(filepath.Join(p.dir, "elsewhere"), 0o755))
		ok(t, os.Symlink(target, filepath.Join(p.dir, "dir")))
		if _, err := s.Restore(t.Context(), e, to, "dir/a.tar"); fault.CodeOf(err) != "no_folder" {
			t.Errorf("through a link to %s: %v", target, err)
		}
		ok(t, os.Remove(filepath.Join(p.dir, "dir")))
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "a.tar")); string(b) != "outside" {
		t.Error("written through a link")
	}
	_, err = s.Restore(t.Context(), e, to, "dir/a.tar") // the folder is made
	ok(t, err)
	ok(t, os.Remove(filepath.Join(p.dir, "plain")))
	ok(t, os.Mkdir(filepath.Join(p.dir, "plain"), 0o755))
	plain, _ := s.Find("files/plain")
	if _, err := s.Restore(t.Context(), plain, to, "plain"); fault.CodeOf(err) != "folder_in_the_way" {
		t.Errorf("over a folder: %v", err)
	}
	for _, bad := range []string{"../x", "/x", "a//b", "", "a/../../b"} {
		if _, err := s.Restore(t.Context(), plain, to, bad); fault.ClassOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	list, _, err := Look(t.Context(), p.taking())
	ok(t, err)
	for _, e := range list {
		if strings.Contains(e.Path, TempPrefix) {
			t.Errorf("%s is left", e.Path)
		}
	}
}

func TestAsideName(t *testing.T) {
	for base, want := range map[string]string{"a.csv": "a (before restore).csv", ".profile": ".profile (before restore)", "x": "x (before restore)"} {
		if got := asideName(base, 1); got != want {
			t.Errorf("%q: %q", base, got)
		}
	}
	if got := asideName(strings.Repeat("n", 251)+".csv", 2); len(got) != 255 {
		t.Errorf("%d bytes", len(got))
	}
}

// FuzzListing: whatever the bytes are, a listing is refused, or is what it would
// be written as.
func FuzzListing(f *testing.F) {
	list := []Entry{
		{Path: "files/a", Kind: File, Mode: 0o644, Size: 5000, Mtime: 12, Ctime: -3, Inode: 9, at: extent{3, 2}, Sum: newSum([]byte("x"))},
		{Path: "files/b", Kind: Link, Mode: 0o777, Target: "../a"},
		{Path: "files/c", Kind: Folder, Mode: 0o755, Why: TooDeep},
		{Path: "files/d\xff\n", Kind: File, Why: TooLarge, Size: 1 << 40, Torn: true},
		{Path: "files/e", Kind: Other, Why: Special, Unsettled: true},
	}
	f.Add(encode(list), uint64(5))
	f.Add(encode(nil), uint64(0))
	f.Add(encode(list)[:vault.PageSize], uint64(1))
	f.Fuzz(func(t *testing.T, b []byte, next uint64) {
		got, err := parse(b, next)
		if err != nil {
			return
		}
		again, err := parse(encode(got), next)
		if err != nil || !slices.Equal(got, again) {
			t.Fatalf("%v: %+v is not %+v", err, again, got)
		}
		for _, e := range got {
			if !checkPath(e.Path) || e.at.end() > next {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// TestListingShares: an entry more changes few pages of a long listing.
func TestListingShares(t *testing.T) {
	var list []Entry
	for i := range 10_000 {
		list = append(list, Entry{Path: fmt.Sprintf("files/%05d.txt", i*2), Kind: File, Why: TooMuch, Size: int64(i)})
	}
	pages := map[string]bool{}
	for b := encode(list); len(b) > 0; b = b[vault.PageSize:] {
		pages[string(b[:vault.PageSize])] = true
	}
	more := slices.Insert(slices.Clone(list), 5000, Entry{Path: "files/09999.txt", Kind: File, Why: TooMuch})
	fresh := 0
	b := encode(more)
	for ; len(b) > 0; b = b[vault.PageSize:] {
		if !pages[string(b[:vault.PageSize])] {
			fresh++
		}
	}
	if fresh > 3 {
		t.Errorf("%d pages of %d are others", fresh, len(pages))
	}
	got, err := parse(encode(more), 0)
	ok(t, err)
	if !slices.Equal(got, more) {
		t.Error("not what was written")
	}
}

// BenchmarkTenOfTenThousand is a snapshot of 10,000 files of which ten changed.
func BenchmarkTenOfTenThousand(b *testing.B) {
	p := newPlace(b, nil)
	for i := range 10_000 {
		p.write(fmt.Sprintf("f%d/%d.txt", i%100, i), random(uint64(i), 2000))
	}
	p.settle()
	_, _, err := Save(b.Context(), p.v, "s", projectKey, "", p.taking())
	ok(b, err)
	base := "s"
	for n := 0; b.Loop(); n++ {
		for i := range 10 {
			p.write(fmt.Sprintf("f%d/%d.txt", i, i), random(uint64(n*10+i), 2000))
		}
		name := fmt.Sprint("s", n)
		sum, added, err := Save(b.Context(), p.v, name, projectKey, base, p.taking())
		ok(b, err)
		base = name
		b.ReportMetric(float64(sum.Read), "read")
		b.ReportMetric(float64(added), "bytes")
	}
}
