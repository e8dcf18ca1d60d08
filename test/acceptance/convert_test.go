package acceptance

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cellar/internal/testkit"
)

// fetch is a GET as a browser does it: the answer's headers count too.
func (h *hub) fetch(path string) (*http.Response, string) {
	h.t.Helper()
	r, err := http.NewRequest("GET", h.Base+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.Token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res, string(b)
}

// TestConvert: notebooks in other forms, made in a container that is gone
// afterwards.
func TestConvert(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Forms")
	base := "/projects/" + p + "/nbconvert/"
	s := h.Open(p, k)
	tour, err := os.ReadFile(filepath.Join(testkit.Root(), "images", "tour", "tour.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Exec("import os; os.makedirs('sub', exist_ok=True); open('broken.ipynb', 'w').write('{'); open('json.py', 'w').write('1/0'); open('sub/odd.ipynb', 'w').write('{\"cells\": [{\"cell_type\": \"code\", \"id\": \"a\", \"metadata\": {}, \"execution_count\": null, \"source\": \"x\", \"outputs\": [{\"output_type\": \"stream\", \"name\": \"stdout\", \"text\": 7}]}], \"metadata\": {}, \"nbformat\": 4, \"nbformat_minor\": 5}')"); got == "" {
		t.Fatal("nothing was written")
	}

	res, page := h.fetch(base + "html/tour.ipynb")
	if res.StatusCode != 200 || !strings.Contains(page, "<html") || !strings.Contains(page, "load_digits") || strings.Contains(page, "file:///") {
		t.Fatalf("html: %d %.2000s", res.StatusCode, page)
	}
	for key, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "sandbox allow-scripts", "Content-Disposition": "",
	} {
		if got := res.Header.Get(key); got != want {
			t.Errorf("html, %s: %q", key, got)
		}
	}
	res, script := h.fetch(base + "python/tour.ipynb?download=true")
	if res.StatusCode != 200 || !strings.Contains(script, "load_digits") || strings.Contains(script, `"cells"`) || res.Header.Get("Content-Disposition") != "attachment; filename=tour.py" {
		t.Errorf("python: %d %v %.300s", res.StatusCode, res.Header, script)
	}
	for format, ending := range map[string]string{"script": "tour.py", "markdown": "tour.md", "notebook": "tour.ipynb"} {
		res, body := h.fetch(base + format + "/tour.ipynb?download=true")
		if res.StatusCode != 200 || !strings.Contains(body, "load_digits") || !strings.HasSuffix(res.Header.Get("Content-Disposition"), "="+ending) {
			t.Errorf("%s: %d %v %.300s", format, res.StatusCode, res.Header, body)
		}
	}
	if status, b := h.Do("POST", base+"markdown", map[string]any{"name": "x.ipynb", "content": json.RawMessage(tour)}, nil); status != 200 || !strings.Contains(string(b), "load_digits") {
		t.Errorf("posted: %d %.300s", status, b)
	}

	for path, want := range map[string]struct {
		status int
		code   string
	}{
		"html/broken.ipynb":                  {400, ""},
		"html/sub/odd.ipynb":                 {400, ""},
		"html/none.ipynb":                    {404, ""},
		"html/..%2f..%2fcellar.db":           {404, ""},
		"html/../../../../etc/passwd":        {404, ""},
		"html/json.py":                       {400, ""},
		"nonsense/tour.ipynb":                {404, "unknown_format"},
		"cellar_convert.Exporter/tour.ipynb": {404, "unknown_format"},
		"pdf/tour.ipynb":                     {422, "format_unsupported"},
		"rst/tour.ipynb":                     {422, "format_unsupported"}, // the base image has no pandoc
	} {
		if res, body := h.fetch(base + path); res.StatusCode != want.status || !strings.Contains(body, want.code) || !strings.Contains(body, "message") {
			t.Errorf("%s: %d %.300s", path, res.StatusCode, body)
		}
	}
	if got := convertsLeft(h); got != "" {
		t.Errorf("left: %s", got)
	}

	// What the project installed may end the conversion, and sees no network and
	// no way to write.
	look := `
import os, socket
def _try(f):
    try: f(); return 'done'
    except OSError as e: return type(e).__name__
` + "seen = [_try(lambda: open('/project/planted', 'w')), _try(lambda: open('/home/cellar/planted', 'w')), _try(lambda: socket.create_connection(('192.0.2.1', 80), 5))]\n" +
		"raise RuntimeError(repr(seen))"
	before := s.Exec("len(os.listdir('/project')), os.listdir('/home/cellar')")
	site := s.Exec("import site; site.getusersitepackages()")
	s.Exec("d = site.getusersitepackages() + '/nbconvert'; os.makedirs(d, exist_ok=True); open(d + '/__init__.py', 'w').write(" + strconv.Quote(look) + ")")
	res, body := h.fetch(base + "html/tour.ipynb")
	if res.StatusCode != 400 || strings.Count(body, "OSError")+strings.Count(body, "PermissionError") < 3 || strings.Contains(body, "done") {
		t.Errorf("planted in %s: %d %s", site, res.StatusCode, body)
	}
	if after := s.Exec("len(os.listdir('/project')), os.listdir('/home/cellar')"); after != before {
		t.Errorf("files were %s, are %s", before, after)
	}
	s.Exec("open(d + '/__init__.py', 'w').write('import os; os._exit(1)')")
	if res, body := h.fetch(base + "html/tour.ipynb"); res.StatusCode != 503 || !strings.Contains(body, "convert_failed") {
		t.Errorf("one that ends: %d %s", res.StatusCode, body)
	}
	s.Exec("open(d + '/__init__.py', 'w').write('x = bytearray(2 << 30)')")
	if res, body := h.fetch(base + "html/tour.ipynb"); res.StatusCode < 400 || !strings.Contains(body, "convert_") {
		t.Errorf("one that takes all memory: %d %s", res.StatusCode, body)
	}
	s.Exec("open(d + '/__init__.py', 'w').write('raise ImportError(7)')")
	if res, body := h.fetch(base + "html/tour.ipynb"); res.StatusCode != 422 || !strings.Contains(body, "no_nbconvert") {
		t.Errorf("without nbconvert: %d %s", res.StatusCode, body)
	}
	if got := convertsLeft(h); got != "" {
		t.Errorf("left: %s", got)
	}
}

// convertsLeft names processes of conversions.
func convertsLeft(h *hub) string {
	out, _ := exec.Command("pgrep", "-f", "cellar_convert").Output()
	for _, pid := range strings.Fields(string(out)) {
		if group, _ := os.ReadFile("/proc/" + pid + "/cgroup"); strings.Contains(string(group), groupOf(h.data)) {
			return pid + ": " + string(group)
		}
	}
	return ""
}
