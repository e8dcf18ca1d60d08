package nbconvert

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// door has one notebook, and converts by repeating what it is asked for.
func door(t *testing.T, out hub.Conversion) http.Handler {
	t.Helper()
	return Handler(Config{
		Notebook: func(_ *http.Request, path string) ([]byte, error) {
			if path != "a b/ü.ipynb" {
				return nil, fault.New(fault.NotFound, "none", "There is none.")
			}
			return []byte(`{"cells":[]}`), nil
		},
		Convert: func(_ *http.Request, format, dir, name string, notebook []byte) (hub.Conversion, error) {
			out.Data = fmt.Appendf(nil, "%s|%s|%s|%s", format, dir, name, notebook)
			return out, nil
		},
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(map[fault.Class]int{fault.NotFound: 404, fault.Invalid: 400, fault.Unsupported: 422, fault.Exhausted: 413}[fault.ClassOf(err)])
			io.WriteString(w, fault.CodeOf(err))
		},
	})
}

func do(h http.Handler, method, path, body string) (*http.Response, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Result(), w.Body.String()
}

func TestAnswers(t *testing.T) {
	page := door(t, hub.Conversion{Kind: "text/html", Ending: ".html"})
	res, body := do(page, "GET", "/nbconvert/html/a%20b/%C3%BC.ipynb", "")
	if res.StatusCode != 200 || body != `html|a b|ü|{"cells":[]}` {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	for key, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff", "Content-Disposition": "",
	} {
		if got := res.Header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	res, _ = do(page, "GET", "/nbconvert/html/a%20b/%C3%BC.ipynb?download=true", "")
	if got := res.Header.Get("Content-Disposition"); got != "attachment; filename*=utf-8''%C3%BC.html" {
		t.Errorf("download: %q", got)
	}
	several := door(t, hub.Conversion{Kind: "application/zip", Ending: ".zip"})
	if res, _ := do(several, "GET", "/nbconvert/markdown/a%20b/%C3%BC.ipynb", ""); res.Header.Get("Content-Disposition") == "" || res.Header.Get("Content-Type") != "application/zip" {
		t.Errorf("several files: %v", res.Header)
	}
	res, body = do(page, "POST", "/nbconvert/python", `{"type":"notebook","name":"../x.ipynb","content":{"cells":[1]}}`)
	if res.StatusCode != 200 || body != `python||x|{"cells":[1]}` {
		t.Errorf("posted: %d %s", res.StatusCode, body)
	}
	var formats map[string]struct {
		Kind *string `json:"output_mimetype"`
	}
	if _, body := do(page, "GET", "/api/nbconvert", ""); json.Unmarshal([]byte(body), &formats) != nil || formats["html"].Kind == nil || formats["script"].Kind == nil {
		t.Errorf("formats: %s", body)
	}
}

func TestRefusals(t *testing.T) {
	h := door(t, hub.Conversion{})
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/nbconvert/html/none.ipynb", "", 404, "none"},
		{"GET", "/nbconvert/pdf/a%20b/%C3%BC.ipynb", "", 422, "format_unsupported"},
		{"GET", "/nbconvert/nonsense/a%20b/%C3%BC.ipynb", "", 404, "unknown_format"},
		{"GET", "/nbconvert/cellar.convert.Exporter/a%20b/%C3%BC.ipynb", "", 404, "unknown_format"}, // nbconvert would import it
		{"GET", "/nbconvert/html", "", 404, "not_found"},
		{"GET", "/nbconvert/html/", "", 404, "not_found"},
		{"GET", "/nbconvert", "", 404, "not_found"},
		{"DELETE", "/nbconvert/html/a%20b/%C3%BC.ipynb", "", 404, "not_found"},
		{"POST", "/nbconvert/html/x.ipynb", "{}", 404, "not_found"},
		{"POST", "/api/nbconvert", "{}", 404, "not_found"},
		{"POST", "/nbconvert/pdf", `{"content":{"cells":[]}}`, 422, "format_unsupported"},
		{"POST", "/nbconvert/html", ``, 400, "bad_notebook"},
		{"POST", "/nbconvert/html", `null`, 400, "bad_notebook"},
		{"POST", "/nbconvert/html", `{"content":"text"}`, 400, "bad_notebook"},
		{"POST", "/nbconvert/html", `{"content":{}}`, 400, "bad_notebook"},
		{"POST", "/nbconvert/html", `{"content":{"cells":{}}}`, 400, "bad_notebook"},
		{"POST", "/nbconvert/html", strings.Repeat(" ", maxNotebook+1), 413, "too_large"},
	} {
		if res, body := do(h, c.method, c.path, c.body); res.StatusCode != c.status || body != c.code {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, res.StatusCode, body, c.status, c.code)
		}
	}
}
