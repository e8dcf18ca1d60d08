package contents

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"cellar/internal/fault"
)

// sandboxed lets a page out of a project run scripts, but in an origin of its own: it must not reach
// the session of whoever looks at it.
const sandboxed = "sandbox allow-scripts"

// files serves a file as it is: ranges, conditions, ?download=1.
func (h *handler) files(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	if r.Header.Get("Service-Worker") != "" { // what a project holds must not stay in a browser and answer for us
		return fault.New(fault.Denied, "no_service_worker", "A file of a project cannot be a service worker.")
	}
	place, err := t.place(p)
	if err != nil {
		return err
	}
	f, info, err := t.openRegular(place)
	if err != nil {
		return err
	}
	defer f.Close()
	kind, err := mediaType(place, f)
	if err != nil {
		return classed(place, err)
	}
	head := w.Header()
	head.Set("Content-Type", kind)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", sandboxed)
	head.Set("Cache-Control", "private, no-cache")
	head.Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
	if d := r.URL.Query().Get("download"); d != "" && d != "0" {
		head.Set("Content-Disposition", attachment(path.Base(place)))
	}
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

// mediaType answers a file's type, by name or else by whether it is text. It leaves f at its start.
func mediaType(place string, f *os.File) (string, error) {
	kind := mimeOf(place)
	if kind == "" {
		kind = "application/octet-stream"
		start := make([]byte, 1024)
		n, err := io.ReadFull(f, start)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return "", err
		}
		if looksLikeText(start[:n], n == len(start)) {
			kind = "text/plain"
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
	}
	if strings.HasPrefix(kind, "text/") {
		kind += "; charset=utf-8"
	}
	return kind, nil
}

// looksLikeText judges the first bytes of a file. Of a longer file the last character may be cut.
func looksLikeText(start []byte, cut bool) bool {
	for i := 0; cut && i < utf8.UTFMax-1 && !utf8.Valid(start); i++ {
		start = start[:len(start)-1]
	}
	return utf8.Valid(start) && !strings.ContainsRune(string(start), 0)
}

// attachment names a download in both ways: as UTF-8 for all browsers of today, and plainly for the rest.
func attachment(name string) string {
	ascii := strings.Map(func(c rune) rune {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return '_'
		}
		return c
	}, name)
	return fmt.Sprintf(`attachment; filename="%s"; filename*=UTF-8''%s`, ascii, url.PathEscape(name))
}

// view shows a file in a page of its own, where its links to files beside it work.
func (h *handler) view(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	place, err := t.place(p)
	if err != nil {
		return err
	}
	if _, err := t.Get(place, Want{Type: File}); err != nil {
		return err
	}
	src := strings.Replace(location(r, place), "/api/contents/", "/files/", 1)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'self'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	fmt.Fprintf(w, `<!DOCTYPE html><html><head><meta charset="utf-8"><title>%s</title></head>`+
		`<body style="margin:0"><iframe sandbox="allow-scripts" src="%s" style="border:0;width:100vw;height:100vh"></iframe></body></html>`,
		html.EscapeString(path.Base(place)), html.EscapeString(src))
	return nil
}
