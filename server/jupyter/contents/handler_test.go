package contents_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cellar/internal/fault"
	"cellar/server/jupyter/contents"
)

// door gives classes the statuses that the real door gives them.
func door(w http.ResponseWriter, _ *http.Request, err error) {
	status := map[fault.Class]int{
		fault.Invalid: 400, fault.Denied: 403, fault.NotFound: 404, fault.Conflict: 409,
		fault.Unsupported: 422, fault.Exhausted: 429, fault.Unavailable: 503, fault.Internal: 500,
	}[fault.ClassOf(err)]
	if fault.CodeOf(err) == "too_large" {
		status = 413
	}
	http.Error(w, fault.Detail(err), status)
}

type place struct {
	t    *testing.T
	dir  string
	tree *contents.Tree
	url  string
}

func serve(t *testing.T, overlay contents.Overlay, options ...contents.Option) *place {
	t.Helper()
	dir := t.TempDir()
	tree, err := contents.Open(dir, contents.Owner{UID: -1}, options...)
	if err != nil {
		t.Fatal(err)
	}
	h := contents.Handler(func(*http.Request) (*contents.Tree, error) { return tree, nil },
		func(*http.Request) contents.Overlay { return overlay }, door, nil, nil)
	s := httptest.NewServer(http.StripPrefix("/base", h))
	t.Cleanup(func() { s.Close(); tree.Close() })
	return &place{t, dir, tree, s.URL + "/base"}
}

func (p *place) write(name, text string) {
	p.t.Helper()
	full := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) read(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

func (p *place) do(method, path, body string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, string(b)
}

// want sends a request, checks the status and answers the parsed body.
func (p *place) want(status int, method, path, body string) map[string]any {
	p.t.Helper()
	res, text := p.do(method, path, body)
	if res.StatusCode != status {
		p.t.Fatalf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, status, text)
	}
	var m map[string]any
	if status < 300 && strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			p.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
		for _, key := range []string{"name", "path", "type", "writable", "created", "last_modified", "mimetype", "content", "format", "size"} {
			if _, ok := m[key]; !ok && m["id"] == nil {
				p.t.Errorf("%s %s: the model lacks %s", method, path, key)
			}
		}
	}
	return m
}

const demo = `{"cells":[{"cell_type":"code","execution_count":1,"id":"a1","metadata":{"trusted":true},"outputs":[{"name":"stdout","output_type":"stream","text":"1\n2\n"}],"source":"print(1)\nprint(2)"}],"metadata":{},"nbformat":4,"nbformat_minor":5}`

// Each row is one request; they run in order on one tree.
func TestRequests(t *testing.T) {
	p := serve(t, nil)
	p.write("a.txt", "hello")
	p.write("dir/b c.ipynb", demo)
	p.write("dir/bin.dat", "\xff\x00\xfe")
	p.write(".hidden", "x")
	p.write("bad.ipynb", "this is not JSON")
	p.write("v2.ipynb", `{"nbformat":2,"worksheets":[]}`)
	p.write("unsaid.ipynb", `{"cells":[]}`)
	p.write("ключ 100%.txt", "unicode")
	if err := os.Symlink("/etc/passwd", filepath.Join(p.dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(p.dir, "bad.ipynb"), 0o444); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		status             int
		method, path, body string
		key                string
		value              any
	}{
		{200, "GET", "/api/contents", "", "type", "directory"},
		{200, "GET", "/api/contents/?content=0&1700000000", "", "content", nil},
		{200, "GET", "/api/contents/a.txt", "", "content", "hello"},
		{200, "GET", "/api/contents/a.txt?content=0", "", "format", nil},
		{200, "GET", "/api/contents/a.txt?format=base64", "", "content", "aGVsbG8="},
		{200, "GET", "/api/contents/a.txt?type=file&hash=1&content=0", "", "hash", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
		{200, "GET", "/api/contents/a.txt?hash=1", "", "hash_algorithm", "sha256"},
		{200, "GET", "/api/contents/a.txt?type=chart", "", "type", "file"},
		{400, "GET", "/api/contents/a.txt?content=2", "", "", nil},
		{400, "GET", "/api/contents/a.txt?format=rot13", "", "", nil},
		{400, "GET", "/api/contents/a.txt?type=directory", "", "", nil},
		{400, "GET", "/api/contents/dir?type=file", "", "", nil},
		{400, "GET", "/api/contents/a.txt?type=notebook", "", "", nil},
		{200, "GET", "/api/contents/dir/bin.dat", "", "format", "base64"},
		{200, "GET", "/api/contents/dir/bin.dat", "", "mimetype", "application/octet-stream"},
		{400, "GET", "/api/contents/dir/bin.dat?format=text", "", "", nil},
		{200, "GET", "/api/contents/dir/b%20c.ipynb?type=notebook&content=1&hash=1&contentProviderId=undefined", "", "format", "json"},
		{200, "GET", "/api/contents/dir/b%20c.ipynb?type=file", "", "content", demo},
		{200, "GET", "/api/contents/%D0%BA%D0%BB%D1%8E%D1%87%20100%25.txt", "", "name", "ключ 100%.txt"},
		{400, "GET", "/api/contents/bad.ipynb", "", "", nil},
		{200, "GET", "/api/contents/bad.ipynb?content=0", "", "writable", false},
		{400, "GET", "/api/contents/unsaid.ipynb", "", "", nil},
		{422, "GET", "/api/contents/v2.ipynb", "", "", nil},
		{404, "GET", "/api/contents/.hidden", "", "", nil},
		{404, "GET", "/api/contents/out", "", "", nil},
		{404, "GET", "/api/contents/nope", "", "", nil},
		{404, "GET", "/api/contents/a.txt/below", "", "", nil},
		{404, "GET", "/api/contents/%2e%2e/etc/passwd", "", "", nil},
		{400, "GET", "/api/contents/a%00b", "", "", nil},

		{201, "POST", "/api/contents", `{"type":"notebook"}`, "path", "Untitled.ipynb"},
		{201, "POST", "/api/contents/", `{"type":"notebook"}`, "path", "Untitled1.ipynb"},
		{201, "POST", "/api/contents/dir", `{"ext":".ipynb"}`, "path", "dir/Untitled.ipynb"},
		{201, "POST", "/api/contents", `{"type":"file","ext":".txt"}`, "path", "untitled.txt"},
		{201, "POST", "/api/contents", `{"type":"file","ext":".txt"}`, "path", "untitled1.txt"},
		{201, "POST", "/api/contents", `{"type":"directory"}`, "path", "Untitled Folder"},
		{201, "POST", "/api/contents", `{"type":"directory"}`, "path", "Untitled Folder 1"},
		{201, "POST", "/api/contents", ``, "path", "untitled"},
		{400, "POST", "/api/contents", `{"ext":"/x"}`, "", nil},
		{400, "POST", "/api/contents/a.txt", `{}`, "", nil},
		{404, "POST", "/api/contents/nope", `{}`, "", nil},
		{400, "POST", "/api/contents", `[`, "", nil},
		{201, "POST", "/api/contents", `{"copy_from":"a.txt"}`, "path", "a-Copy1.txt"},
		{201, "POST", "/api/contents", `{"copy_from":"a-Copy1.txt"}`, "path", "a-Copy2.txt"},
		{201, "POST", "/api/contents/dir", `{"copy_from":"a.txt"}`, "path", "dir/a.txt"},
		{201, "POST", "/api/contents/", `{"copy_from":"dir"}`, "path", "dir-Copy1"},
		{400, "POST", "/api/contents/dir", `{"copy_from":"dir"}`, "", nil},
		{404, "POST", "/api/contents/", `{"copy_from":"nope"}`, "", nil},

		{201, "PUT", "/api/contents/new.txt", `{"type":"file","format":"text","content":"a\u0007\"\\\n\ud83d\ude00"}`, "size", 9.0},
		{200, "GET", "/api/contents/new.txt", "", "content", "a\a\"\\\n😀"},
		{200, "PUT", "/api/contents/new.txt", `{"type":"file","format":"base64","content":"AAEC\n"}`, "size", 3.0},
		{200, "PUT", "/api/contents/new.txt", `{"type":"file","format":"text","content":""}`, "size", 0.0},
		{201, "PUT", "/api/contents/sub", `{"type":"directory"}`, "type", "directory"},
		{200, "PUT", "/api/contents/sub", `{"type":"directory"}`, "type", "directory"},
		{400, "PUT", "/api/contents/a.txt", `{"type":"directory"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `{"type":"file","format":"text"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `{"content":"x"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `{"type":"file","format":"base64","content":"*"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `{"type":"file","format":"text","content":"\ud800"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `{"type":"file","format":"rot13","content":"x"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `{"copy_from":"b"}`, "", nil},
		{400, "PUT", "/api/contents/a.txt", `not json`, "", nil},
		{400, "PUT", "/api/contents/a.ipynb", `{"type":"notebook","format":"json","content":"text"}`, "", nil},
		{403, "PUT", "/api/contents/bad.ipynb", `{"type":"notebook","format":"json","content":` + demo + `}`, "", nil},
		{404, "PUT", "/api/contents/nodir/a.txt", `{"type":"file","format":"text","content":"x"}`, "", nil},
		{404, "PUT", "/api/contents/.secret", `{"type":"file","format":"text","content":"x"}`, "", nil},
		{404, "PUT", "/api/contents/out", `{"type":"file","format":"text","content":"x"}`, "", nil},
		{201, "PUT", "/api/contents/n.ipynb", `{"type":"notebook","format":"json","content":` + demo + `}`, "content", nil},

		{200, "PATCH", "/api/contents/new.txt", `{"path":"sub/moved \"q\".txt"}`, "path", `sub/moved "q".txt`},
		{409, "PATCH", "/api/contents/a.txt", `{"path":"n.ipynb"}`, "", nil},
		{404, "PATCH", "/api/contents/ghost.txt", `{"path":"x.txt"}`, "", nil},
		{404, "PATCH", "/api/contents/a.txt", `{"path":"../x.txt"}`, "", nil},
		{404, "PATCH", "/api/contents/a.txt", `{"path":"nodir/x.txt"}`, "", nil},
		{400, "PATCH", "/api/contents/a.txt", `{}`, "", nil},
		{400, "PATCH", "/api/contents/sub", `{"path":"sub/below"}`, "", nil},
		{200, "PATCH", "/api/contents/a.txt", `{"path":"a.txt"}`, "path", "a.txt"},

		{201, "POST", "/api/contents/a.txt/checkpoints", "", "id", "checkpoint"},
		{200, "PUT", "/api/contents/a.txt", `{"type":"file","format":"text","content":"other"}`, "size", 5.0},
		{204, "POST", "/api/contents/a.txt/checkpoints/checkpoint", "", "", nil},
		{200, "GET", "/api/contents/a.txt", "", "content", "hello"},
		{404, "POST", "/api/contents/a.txt/checkpoints/no-such", "", "", nil},
		{200, "PATCH", "/api/contents/a.txt", `{"path":"z.txt"}`, "path", "z.txt"},
		{204, "DELETE", "/api/contents/z.txt/checkpoints/checkpoint", "", "", nil},
		{404, "DELETE", "/api/contents/z.txt/checkpoints/checkpoint", "", "", nil},
		{404, "POST", "/api/contents/gone.txt/checkpoints", "", "", nil},
		{201, "PUT", "/api/contents/sub/checkpoints", `{"type":"directory"}`, "name", "checkpoints"},
		{200, "GET", "/api/contents/sub/checkpoints", "", "type", "directory"},

		{204, "DELETE", "/api/contents/z.txt", "", "", nil},
		{404, "DELETE", "/api/contents/z.txt", "", "", nil},
		{204, "DELETE", "/api/contents/dir", "", "", nil},
		{400, "DELETE", "/api/contents", "", "", nil},
		{404, "DELETE", "/api/contents/.hidden", "", "", nil},
		{405, "OPTIONS", "/api/contents", "", "", nil},
		{404, "GET", "/api/contentsx", "", "", nil},
	}
	for _, row := range rows {
		m := p.want(row.status, row.method, row.path, row.body)
		if row.key != "" && m[row.key] != row.value {
			t.Errorf("%s %s %s: %s is %v, want %v", row.method, row.path, row.body, row.key, m[row.key], row.value)
		}
	}
}

func TestListing(t *testing.T) {
	p := serve(t, nil)
	p.write("d/a.txt", "x")
	p.write("d/.b", "x")
	p.write("d/x.pyc", "x")
	p.write("d/__pycache__/x", "x")
	p.write("d/old~", "x")
	p.write("d/n.ipynb", demo)
	p.write("d/sub/x", "x")
	for link, to := range map[string]string{"in": "a.txt", "out": "/etc/passwd", "up": "../../../etc/passwd", "gone": "nothing"} {
		if err := os.Symlink(to, filepath.Join(p.dir, "d", link)); err != nil {
			t.Fatal(err)
		}
	}
	_, body := p.do("GET", "/api/contents/d", "")
	var m struct {
		Format  string
		Size    *int
		Content []struct {
			Name, Path, Type string
			Content          any
			Size             *int
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range m.Content {
		got[c.Path] = c.Type
	}
	want := map[string]string{"d/a.txt": "file", "d/n.ipynb": "notebook", "d/sub": "directory", "d/in": "file"}
	if len(got) != len(want) || m.Format != "json" || m.Size != nil {
		t.Errorf("listing %v of format %s, want %v", got, m.Format, want)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %q, want %q", k, got[k], v)
		}
	}
}

func TestLocation(t *testing.T) {
	p := serve(t, nil)
	res, _ := p.do("PUT", "/api/contents/a%20b%25.txt?1700", `{"type":"file","format":"text","content":""}`)
	if got := res.Header.Get("Location"); got != "/base/api/contents/a%20b%25.txt" {
		t.Errorf("Location %q", got)
	}
	if res.Header.Get("Last-Modified") == "" {
		t.Error("no Last-Modified")
	}
}

func TestChunkedUpload(t *testing.T) {
	p := serve(t, nil)
	put := func(status int, body string) {
		t.Helper()
		p.want(status, "PUT", "/api/contents/big.bin", body)
	}
	put(201, `{"type":"file","format":"base64","chunk":1,"content":"YWJj"}`)
	put(200, `{"type":"file","format":"base64","chunk":2,"content":"ZGVm"}`)
	put(200, `{"type":"file","format":"base64","chunk":-1,"content":"Z2g="}`)
	if got := p.read("big.bin"); got != "abcdefgh" {
		t.Errorf("uploaded %q", got)
	}
	put(200, `{"type":"file","format":"text","chunk":1,"content":"x"}`)
	if got := p.read("big.bin"); got != "x" {
		t.Errorf("chunk 1 left %q", got)
	}
	put(400, `{"type":"file","format":"text","chunk":0,"content":"x"}`)
	put(400, `{"type":"notebook","format":"json","chunk":2,"content":{}}`)
	p.want(404, "PUT", "/api/contents/none.bin", `{"type":"file","format":"text","chunk":2,"content":"x"}`)
}

func TestFiles(t *testing.T) {
	p := serve(t, nil)
	p.write("a.html", "<p>héllo")
	p.write("raw", "0123456789")
	p.write("bin", "\xff\xfe\x00")
	p.write("d/x.py", "1")
	get := func(path string, status int) *http.Response {
		t.Helper()
		res, body := p.do("GET", path, "")
		if res.StatusCode != status {
			t.Errorf("GET %s: %d, want %d: %s", path, res.StatusCode, status, body)
		}
		return res
	}
	res := get("/files/a.html?download=1", 200)
	for k, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox allow-scripts",
		"Content-Disposition":     `attachment; filename="a.html"; filename*=UTF-8''a.html`,
	} {
		if got := res.Header.Get(k); got != want {
			t.Errorf("%s: %q, want %q", k, got, want)
		}
	}
	if got := get("/files/raw", 200).Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("type of text: %s", got)
	}
	if got := get("/files/bin", 200).Header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("type of bytes: %s", got)
	}
	r, _ := http.NewRequest("GET", p.url+"/files/raw", nil)
	r.Header.Set("Range", "bytes=2-4")
	part, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(part.Body)
	part.Body.Close()
	if part.StatusCode != 206 || string(body) != "234" {
		t.Errorf("range: %d %q", part.StatusCode, body)
	}
	r.Header.Del("Range")
	r.Header.Set("If-None-Match", part.Header.Get("ETag"))
	same, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	same.Body.Close()
	if same.StatusCode != 304 {
		t.Errorf("conditional: %d", same.StatusCode)
	}
	get("/files/d", 400)
	get("/files/none", 404)
	get("/files/.x", 404)
	get("/view/a.html", 200)
	get("/view/none.html", 404)
	get("/directories/d", 200)
	get("/directories/?archiveFormat=tar.gz", 200)
	get("/directories/d?archiveFormat=rar", 400)
}

func TestSizeLimit(t *testing.T) {
	p := serve(t, nil, contents.WithMaxContent(100))
	p.write("big", strings.Repeat("x", 101))
	p.want(413, "GET", "/api/contents/big", "")
	p.want(200, "GET", "/api/contents/big?content=0&hash=1", "")
	p.want(413, "PUT", "/api/contents/new", `{"type":"file","format":"text","content":"`+strings.Repeat("x", 101)+`"}`)
}
