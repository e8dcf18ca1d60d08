package contents

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"mime"
	"path"
	"strings"
	"syscall"
	"time"
)

// The types of a model.
const (
	Directory = "directory"
	Notebook  = "notebook"
	File      = "file"
)

// Model is what Jupyter says of one file or directory. The last of the always present members are
// null where they do not apply.
type Model struct {
	Name          string          `json:"name"`
	Path          string          `json:"path"`
	Type          string          `json:"type"`
	Writable      bool            `json:"writable"`
	Created       Time            `json:"created"`
	LastModified  Time            `json:"last_modified"`
	Mimetype      *string         `json:"mimetype"`
	Format        *string         `json:"format"`
	Size          *int64          `json:"size"`
	Hash          string          `json:"hash,omitempty"`
	HashAlgorithm string          `json:"hash_algorithm,omitempty"`
	Message       string          `json:"message,omitempty"` // what is wrong with a notebook that was read or saved all the same
	Content       json.RawMessage `json:"-"`                 // nil: null
}

// MarshalJSON adds the content as it is, unlike the standard encoder, which would go over it again.
func (m *Model) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil) }

// AppendJSON appends the model, content last.
func (m *Model) AppendJSON(out []byte) ([]byte, error) {
	head, content, err := m.parts()
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = make([]byte, 0, len(head)+len(content)+1)
	}
	return append(append(append(out, head...), content...), '}'), nil
}

// parts are the model's JSON up to its content, and that; a brace follows them.
func (m *Model) parts() (head, content []byte, err error) {
	type bare Model
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode((*bare)(m)); err != nil {
		return nil, nil, err
	}
	if content = m.Content; content == nil {
		content = []byte("null")
	}
	return append(bytes.TrimRight(buf.Bytes(), "}\n"), `,"content":`...), content, nil
}

// Time is a moment as Jupyter writes it: UTC, microseconds.
type Time time.Time

func (t Time) String() string { return time.Time(t).UTC().Format("2006-01-02T15:04:05.000000Z") }

func (t Time) MarshalJSON() ([]byte, error) { return []byte(`"` + t.String() + `"`), nil }

// describe makes the model of a place without its content. place is "" for the root.
func (t *Tree) describe(place string, info fs.FileInfo) *Model {
	m := &Model{
		Name: path.Base("/" + place), Path: place, Type: typeOf(place, info), Writable: t.writable(info),
		Created: changed(info), LastModified: Time(info.ModTime()),
	}
	if place == "" {
		m.Name = ""
	}
	if m.Type != Directory {
		size := info.Size()
		m.Size = &size
	}
	if guess := mimeOf(place); m.Type == File && guess != "" {
		m.Mimetype = &guess
	}
	return m
}

func typeOf(place string, info fs.FileInfo) string {
	switch {
	case info.IsDir():
		return Directory
	case strings.HasSuffix(place, ".ipynb"):
		return Notebook
	}
	return File
}

// changed is what Jupyter calls created: the inode's time of change.
func changed(info fs.FileInfo) Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return Time(time.Unix(st.Ctim.Unix()))
	}
	return Time(info.ModTime())
}

// mimes are the types that notebooks meet, told the same on every machine; the rest is asked of the system.
var mimes = map[string]string{
	".txt": "text/plain", ".log": "text/plain", ".py": "text/x-python", ".md": "text/markdown", ".csv": "text/csv",
	".tsv": "text/tab-separated-values", ".html": "text/html", ".htm": "text/html", ".css": "text/css",
	".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".xml": "text/xml",
	".ipynb": "application/x-ipynb+json", ".yaml": "application/yaml", ".yml": "application/yaml",
	".sh": "application/x-sh", ".tex": "application/x-tex", ".svg": "image/svg+xml", ".png": "image/png",
	".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif",
	".bmp": "image/bmp", ".tif": "image/tiff", ".tiff": "image/tiff", ".ico": "image/vnd.microsoft.icon",
	".pdf": "application/pdf", ".zip": "application/zip", ".gz": "application/gzip", ".tar": "application/x-tar",
	".mp3": "audio/mpeg", ".wav": "audio/x-wav", ".ogg": "audio/ogg", ".mp4": "video/mp4", ".webm": "video/webm",
	".wasm": "application/wasm", ".parquet": "application/vnd.apache.parquet",
}

func mimeOf(place string) string {
	ext := strings.ToLower(path.Ext(place))
	if known, ok := mimes[ext]; ok {
		return known
	}
	guess, _, _ := strings.Cut(mime.TypeByExtension(ext), ";")
	return guess
}

func ref(s string) *string { return &s }
