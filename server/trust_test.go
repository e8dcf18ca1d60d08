package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellar/server/jupyter/contents"
)

const script = `{"output_type":"display_data","metadata":{},"data":{"text/html":"<script>alert(1)</script>","text/plain":"x"}}`

func bookWith(metadata string, outputs ...string) string {
	return fmt.Sprintf(`{"cells":[{"cell_type":"code","id":"a","source":"x","metadata":%s,"execution_count":1,"outputs":[%s]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`, metadata, strings.Join(outputs, ","))
}

// trusted says how a person's browser is told to show the cell of a notebook.
func trustedBy(t *testing.T, v *visitor, project, path string) bool {
	t.Helper()
	res := v.do("GET", "/projects/"+project+"/api/contents/"+path, "", nil)
	var m struct {
		Content struct {
			Cells []struct{ Metadata struct{ Trusted *bool } }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil || res.StatusCode != 200 || len(m.Content.Cells) != 1 || m.Content.Cells[0].Metadata.Trusted == nil {
		t.Fatalf("%s: %d %v %+v", path, res.StatusCode, err, m)
	}
	return *m.Content.Cells[0].Metadata.Trusted
}

// TestTrust: a notebook's HTML and scripts act as whoever looks at it, so they are
// shown only to whom they are known to be good.
func TestTrust(t *testing.T) {
	w := newTown(t)
	p := w.project()
	owner, admin := w.by(w.owner, "cookie"), w.by(w.admin, "cookie")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.hub.FilesDir(p), name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		os.Chmod(filepath.Join(w.hub.FilesDir(p), name), 0o666)
	}
	save := func(v *visitor, name, book string) {
		t.Helper()
		if res := v.do("PUT", "/projects/"+p+"/api/contents/"+name, "application/json", []byte(`{"type":"notebook","format":"json","content":`+book+`}`)); res.StatusCode >= 300 {
			t.Fatalf("saving %s: %d", name, res.StatusCode)
		}
	}
	expect := func(what, name string, byOwner, byAdmin bool) {
		t.Helper()
		if a, b := trustedBy(t, owner, p, name), trustedBy(t, admin, p, name); a != byOwner || b != byAdmin {
			t.Errorf("%s: trusted by the owner %v, by an administrator %v; want %v, %v", what, a, b, byOwner, byAdmin)
		}
	}
	write("evil.ipynb", bookWith(`{"trusted":true}`, script))
	expect("a file from elsewhere, whatever it says of itself", "evil.ipynb", false, false)
	for name, output := range map[string]string{
		"text": `{"output_type":"stream","name":"stdout","text":"<script>"}`, "error": `{"output_type":"error","ename":"E","evalue":"v","traceback":["<script>"]}`,
		"picture": `{"output_type":"display_data","metadata":{},"data":{"image/png":"iVBO","text/plain":"x"}}`,
	} {
		write("plain.ipynb", bookWith(`{}`, output))
		expect("harmless: "+name, "plain.ipynb", true, true)
	}
	for name, output := range map[string]string{
		"SVG": `{"output_type":"display_data","metadata":{},"data":{"image/svg+xml":"<svg/>"}}`, "script": `{"output_type":"execute_result","execution_count":1,"metadata":{},"data":{"application/javascript":"1"}}`,
		"widget": `{"output_type":"display_data","metadata":{},"data":{"application/vnd.jupyter.widget-view+json":{}}}`, "unknown": `{"output_type":"new_thing","data":{"text/html":"x"}}`,
	} {
		write("active.ipynb", bookWith(`{}`, output))
		expect("not harmless: "+name, "active.ipynb", false, false)
	}

	save(owner, "run.ipynb", bookWith(`{"trusted":true}`, script))
	expect("what the owner has run and saved", "run.ipynb", true, false)
	if b, err := os.ReadFile(filepath.Join(w.hub.FilesDir(p), "run.ipynb")); err != nil || strings.Contains(string(b), "trusted") {
		t.Errorf("the file says so too: %v %s", err, b)
	}
	save(admin, "admins.ipynb", bookWith(`{"trusted":true}`, strings.Replace(script, "alert(1)", "alert(2)", 1)))
	expect("what the administrator has run and saved", "admins.ipynb", false, true)
	save(owner, "seen.ipynb", bookWith(`{"trusted":false}`, strings.Replace(script, "alert(1)", "alert(3)", 1)))
	expect("what the owner has saved without trusting it", "seen.ipynb", false, false)
	write("changed.ipynb", bookWith(`{}`, script, strings.Replace(script, "alert(1)", "steal()", 1)))
	expect("with one more output", "changed.ipynb", false, false)
	if res := owner.do("POST", "/projects/"+p+"/api/contents/evil.ipynb/trust", "", nil); res.StatusCode != 201 {
		t.Errorf("saying that it is trusted: %d", res.StatusCode)
	}
	expect("what the owner says to be good", "evil.ipynb", true, false)

	// What the hub writes when nobody is there came of the owner's runs.
	project, err := w.hub.Store.Project(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	late := strings.Replace(script, "alert(1)", "plot()", 1)
	write("away.ipynb", bookWith(`{}`))
	err = w.trees.Update(t.Context(), project, "away.ipynb", func(nb []byte) ([]byte, error) {
		return []byte(strings.Replace(string(nb), `"outputs":[]`, `"outputs":[`+late+`]`, 1)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect("what ran while nobody was there", "away.ipynb", true, false)

	// It outlives the hub.
	again := &trust{file: filepath.Join(w.hub.LabDir(p), w.owner.ID, "trusted")}
	if n := len(w.trees.trusts.of(w.hub, project, w.owner.ID).order); again.Knows(contents.Sum{}) || len(again.order) != n || n < 2 {
		t.Errorf("%d sums are kept, %d are known", len(again.order), n)
	}
}

// laid is an overlay that lays an output of a run over a notebook.
type laid struct{ output string }

func (l laid) Loaded(_ string, nb []byte) []byte {
	return []byte(strings.Replace(string(nb), `"outputs":[]`, `"outputs":[`+l.output+`]`, 1))
}
func (l laid) Lays(string) bool { return true }

func (l laid) Saving(path string, nb []byte) []byte { return l.Loaded(path, nb) }

// TestTrustInRuns: outputs that are laid over a notebook are their owner's own, and
// nobody else's, loaded or saved.
func TestTrustInRuns(t *testing.T) {
	dir := t.TempDir()
	tree, err := contents.Open(dir, contents.Owner{UID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	trusts := map[bool]*trust{}
	for _, own := range []bool{true, false} {
		trusts[own] = &trust{file: filepath.Join(t.TempDir(), "trusted"), own: own}
	}
	for _, own := range []bool{true, false} {
		if err := os.WriteFile(filepath.Join(dir, "n.ipynb"), []byte(bookWith(`{}`)), 0o644); err != nil {
			t.Fatal(err)
		}
		loaded := func(overlay contents.Overlay) string {
			m, err := tree.Get("n.ipynb", contents.Want{Content: true, Overlay: overlay, Trust: trusts[own]})
			if err != nil {
				t.Fatal(err)
			}
			return string(m.Content)
		}
		if got := loaded(laid{script}); strings.Contains(got, `"trusted":true`) != own || !strings.Contains(got, "alert(1)") {
			t.Errorf("own %v, loaded: %s", own, got)
		}
		// The client trusts its own outputs, of which there are none; the hub lays those of a run over them.
		if _, err := tree.Save("n.ipynb", contents.Incoming{Type: contents.Notebook, Format: contents.JSON, Content: []byte(bookWith(`{"trusted":true}`)), Overlay: laid{strings.Replace(script, "1", "9", 1)}, Trust: trusts[own]}); err != nil {
			t.Fatal(err)
		}
		if got := loaded(nil); strings.Contains(got, `"trusted":true`) != own || !strings.Contains(got, "alert(9)") {
			t.Errorf("own %v, saved: %s", own, got)
		}
	}
}

func TestTrustIsBounded(t *testing.T) {
	k := &trust{file: filepath.Join(t.TempDir(), "ada", "trusted")}
	sum := func(i int) (s contents.Sum) { s[0], s[1], s[2] = byte(i), byte(i>>8), byte(i>>16)+1; return s }
	var many []contents.Sum
	for i := range maxTrusted {
		many = append(many, sum(i))
	}
	if err := k.Learn(many); err != nil {
		t.Fatal(err)
	}
	if err := k.Learn([]contents.Sum{sum(maxTrusted)}); err != nil {
		t.Fatal(err)
	}
	if len(k.order) != maxTrusted/2 || len(k.known) != len(k.order) || k.Knows(sum(0)) || !k.Knows(sum(maxTrusted)) {
		t.Errorf("%d are kept, %d known", len(k.order), len(k.known))
	}
	// A piece of a record at the end does no harm.
	f, err := os.OpenFile(k.file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("cut"))
	f.Close()
	if again := (&trust{file: k.file}); !again.Knows(sum(maxTrusted)) || len(again.order) != maxTrusted/2 {
		t.Errorf("read again: %d", len(again.order))
	}
}
