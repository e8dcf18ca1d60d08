package lab

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/andybalholm/brotli"

	"cellar/internal/fault"
)

// static serves the build's files. Their names hold hashes of their content, so they never change.
func (l *lab) static(w http.ResponseWriter, r *http.Request, rest string) error {
	return l.built(w, r, "static/"+rest, "public, max-age=31536000, immutable")
}

// theme serves a theme's style sheet, whose name stays the same from build to build.
func (l *lab) theme(w http.ResponseWriter, r *http.Request, rest string) error {
	return l.built(w, r, "themes/"+rest, "no-cache")
}

// built serves one file of the build, compressed where it is and the client takes it.
func (l *lab) built(w http.ResponseWriter, r *http.Request, name, caching string) error {
	f, packed, err := openBuilt(l.Build, name)
	if err != nil {
		return err
	}
	defer f.Close()
	var content io.Reader = f
	head := w.Header()
	switch {
	case packed && acceptsBrotli(r.Header.Get("Accept-Encoding")):
		head.Set("Content-Encoding", "br")
	case packed:
		content = brotli.NewReader(f)
	}
	if packed {
		head.Set("Vary", "Accept-Encoding")
	}
	head.Set("Content-Type", mediaType(name))
	head.Set("Cache-Control", caching)
	head.Set("X-Content-Type-Options", "nosniff")
	if caching == "no-cache" {
		// Small files only: their bytes are their tag.
		data, err := io.ReadAll(content)
		if err != nil {
			return err
		}
		if unchanged(w, r, data) {
			return nil
		}
		content = bytes.NewReader(data)
	}
	if info, err := f.Stat(); err == nil && (!packed || head.Get("Content-Encoding") == "br") {
		head.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	}
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, content)
	}
	return nil
}

// unchanged tags an answer by its bytes, and answers 304 itself where the client has them.
func unchanged(w http.ResponseWriter, r *http.Request, data []byte) bool {
	sum := sha256.Sum256(data)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if known = strings.TrimPrefix(strings.TrimSpace(known), "W/"); known == tag || known == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

// openBuilt opens a file of the build; packed says that it is compressed.
func openBuilt(build fs.FS, name string) (f fs.File, packed bool, err error) {
	if !fs.ValidPath(name) {
		return nil, false, errNothing
	}
	for _, packed := range []bool{false, true} {
		full := name
		if packed {
			full += ".br"
		}
		f, err := build.Open(full)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			f.Close()
			continue
		}
		return f, packed, nil
	}
	return nil, false, fault.Newf(fault.NotFound, "no_such_file", "The lab has no file %s.", name)
}

// readBuilt reads a whole file of the build.
func readBuilt(build fs.FS, name string) ([]byte, error) {
	f, packed, err := openBuilt(build, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if packed {
		return io.ReadAll(brotli.NewReader(f))
	}
	return io.ReadAll(f)
}

// acceptsBrotli reads Accept-Encoding. Only an explicit br counts, and q=0 takes it back.
func acceptsBrotli(header string) bool {
	for one := range strings.SplitSeq(header, ",") {
		coding, q, _ := strings.Cut(one, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "br") {
			continue
		}
		_, weight, found := strings.Cut(q, "=")
		value, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
		return !found || err == nil && value > 0
	}
	return false
}

// mediaTypes are told the same on every machine; the rest is asked of the system.
var mediaTypes = map[string]string{
	".js": "text/javascript; charset=utf-8", ".mjs": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".json": "application/json", ".map": "application/json", ".svg": "image/svg+xml", ".wasm": "application/wasm",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".eot": "application/vnd.ms-fontobject",
	".png": "image/png", ".html": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8",
}

func mediaType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if known, ok := mediaTypes[ext]; ok {
		return known
	}
	if guess := mime.TypeByExtension(ext); guess != "" {
		return guess
	}
	return "application/octet-stream"
}
