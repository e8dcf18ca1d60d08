package console

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

const staticPath = "/static/console/"

// mediaTypes names what we serve; the machine's own table may say otherwise or nothing.
var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// assets holds the static files. One version stands for all of them, as a folder in their
// addresses: so the modules find one another by relative names, and a page never mixes two releases.
type assets struct {
	version string
	files   map[string]asset
}

type asset struct {
	body      []byte
	mediaType string
	etag      string
}

func readAssets(fsys fs.FS, dir string) (*assets, error) {
	a := &assets{files: map[string]asset{}}
	all := sha256.New()
	err := fs.WalkDir(fsys, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		mediaType := mediaTypes[path.Ext(name)]
		if mediaType == "" {
			mediaType = mime.TypeByExtension(path.Ext(name))
		}
		if mediaType == "" {
			return fmt.Errorf("no media type for %s", name)
		}
		sum := sha256.Sum256(body)
		name = strings.TrimPrefix(name, dir+"/")
		fmt.Fprintf(all, "%s %x\n", name, sum)
		a.files[name] = asset{body: body, mediaType: mediaType, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	a.version = hex.EncodeToString(all.Sum(nil)[:8])
	return a, err
}

// Static serves {base}/static/console/{version}/{file} for good, and the same files under
// another version or none to be asked about again: a page made just before a new release
// still gets its files.
func (c *Console) Static() http.Handler { return c.assets }

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Only GET and HEAD work here.", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if _, after, found := strings.Cut(r.URL.Path, staticPath); found {
		name = after
	}
	version := r.URL.Query().Get("v")
	if before, after, found := strings.Cut(name, "/"); found {
		version, name = before, after
	}
	file, found := a.files[name]
	if !found {
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", file.mediaType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", file.etag)
	h.Set("Cache-Control", "no-cache")
	if version == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if matches(r.Header.Get("If-None-Match"), file.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(file.body)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(file.body) // whoever asked may be gone
	}
}

// matches reports whether an If-None-Match header names the tag.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == "*" || tag == etag {
			return true
		}
	}
	return false
}
