// Package nbconvert serves Jupyter's conversions of one project's notebooks into
// other forms. It knows no sign-in, and not how a notebook is converted.
package nbconvert

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// Config is what the routes need.
type Config struct {
	// Notebook gives a notebook of the project in memory form, as JSON.
	Notebook func(r *http.Request, path string) ([]byte, error)
	// Convert gives it another form; dir is its folder, name its name without
	// ending.
	Convert func(r *http.Request, format, dir, name string, notebook []byte) (hub.Conversion, error)
	Fail    func(http.ResponseWriter, *http.Request, error)
}

// offered are the formats that the base image can make, and the media types that
// clients are told. A script's depends on the notebook's language.
var offered = map[string]string{
	"html": "text/html", "markdown": "text/markdown", "notebook": "application/json", "python": "text/x-python", "script": "",
}

// possible are formats that need pandoc, which an image may have: it is 200 MB
// and not in ours. The image is asked.
var possible = map[string]bool{"asciidoc": true, "latex": true, "rst": true}

// refused are formats of nbconvert that no image is asked for: they need TeX, a
// browser, or a configuration file.
var refused = map[string]string{
	"pdf":    "A PDF cannot be made here, as that needs TeX. Convert to HTML and print that as PDF.",
	"webpdf": "A PDF cannot be made here, as that needs a browser on the server. Convert to HTML and print that as PDF.",
	"qtpdf":  "A PDF cannot be made here, as that needs a browser on the server. Convert to HTML and print that as PDF.",
	"qtpng":  "A picture of a notebook cannot be made here, as that needs a browser on the server.",
	"slides": "Slides cannot be made here, as what shows them is not in the image. Convert to HTML.",
	"custom": "An exporter of one's own cannot be used here. Run nbconvert in a terminal.",
}

// maxNotebook bounds what is converted, from a file or a request.
const maxNotebook = 64 << 20

// sandboxed lets a converted page run its scripts in an origin of its own: it
// holds whatever the notebook's outputs hold, and must not reach the session of
// whoever looks at it.
const sandboxed = "sandbox allow-scripts"

// Handler serves /nbconvert and /api/nbconvert with the project's prefix
// stripped.
func Handler(c Config) http.Handler {
	h := &handler{c}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.serve(w, r); err != nil {
			c.Fail(w, r, err)
		}
	})
}

// Routes lists what Handler answers.
func Routes() []string {
	return []string{"GET /api/nbconvert", "GET /nbconvert/{format}/{path...}", "POST /nbconvert/{format}"}
}

type handler struct{ Config }

var errNone = fault.New(fault.NotFound, "not_found", "There is nothing at this address.")

func (h *handler) serve(w http.ResponseWriter, r *http.Request) error {
	escaped := r.URL.EscapedPath()
	if escaped == "/api/nbconvert" && r.Method == http.MethodGet {
		return h.formats(w)
	}
	// Taken apart before it is unescaped: a slash in a name is none.
	format, file, _ := strings.Cut(strings.TrimPrefix(escaped, "/nbconvert/"), "/")
	format, err1 := url.PathUnescape(format)
	file, err2 := url.PathUnescape(file)
	if err1 != nil || err2 != nil || !strings.HasPrefix(escaped, "/nbconvert/") {
		return errNone
	}
	switch {
	case r.Method == http.MethodGet && file != "":
		return h.file(w, r, format, file)
	case r.Method == http.MethodPost && file == "":
		return h.posted(w, r, format)
	}
	return errNone
}

func (h *handler) formats(w http.ResponseWriter) error {
	out := map[string]any{}
	for name, kind := range offered {
		out[name] = map[string]string{"output_mimetype": kind}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// check refuses a format before a container is started for it.
func check(format string) error {
	if why := refused[format]; why != "" {
		return fault.New(fault.Unsupported, "format_unsupported", why)
	}
	if _, ok := offered[format]; !ok && !possible[format] {
		return fault.Newf(fault.NotFound, "unknown_format", "There is no format %.40q to convert a notebook to.", format)
	}
	return nil
}

func (h *handler) file(w http.ResponseWriter, r *http.Request, format, file string) error {
	if err := check(format); err != nil {
		return err
	}
	notebook, err := h.Notebook(r, file)
	if err != nil {
		return err
	}
	return h.answer(w, r, format, strings.Trim(path.Dir("/"+file), "/"), path.Base(file), notebook)
}

// posted converts a notebook that is in the request, and in no file perhaps.
func (h *handler) posted(w http.ResponseWriter, r *http.Request, format string) error {
	if err := check(format); err != nil {
		return err
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxNotebook))
	var tooMuch *http.MaxBytesError
	if errors.As(err, &tooMuch) {
		return errTooLarge
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, "bad_body", "The request could not be read.", err)
	}
	in := struct {
		Name    string          `json:"name"`
		Content json.RawMessage `json:"content"`
	}{Name: "notebook.ipynb"}
	var cells struct {
		Cells []json.RawMessage `json:"cells"`
	}
	if json.Unmarshal(b, &in) != nil || len(in.Content) == 0 || json.Unmarshal(in.Content, &cells) != nil || cells.Cells == nil {
		return fault.New(fault.Invalid, "bad_notebook", "The request holds no notebook: content with cells is expected.")
	}
	return h.answer(w, r, format, "", path.Base("/"+in.Name), in.Content)
}

var errTooLarge = fault.New(fault.Exhausted, "too_large", "The notebook is larger than the 64 MiB that are converted.")

func (h *handler) answer(w http.ResponseWriter, r *http.Request, format, dir, file string, notebook []byte) error {
	if len(notebook) > maxNotebook {
		return errTooLarge
	}
	name := strings.TrimSuffix(file, ".ipynb")
	out, err := h.Convert(r, format, dir, name, notebook)
	if err != nil {
		return err
	}
	kind := out.Kind
	if strings.HasPrefix(kind, "text/") {
		kind += "; charset=utf-8"
	}
	head := w.Header()
	head.Set("Content-Type", kind)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", sandboxed)
	head.Set("Cache-Control", "private, no-store")
	if download, _ := strconv.ParseBool(r.URL.Query().Get("download")); download || out.Kind == "application/zip" {
		head.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + out.Ending}))
	}
	_, _ = w.Write(out.Data) // a client that went away needs no answer
	return nil
}
