package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"

	"cellar/internal/fault"
)

// Bounds of what is read of an extension.
const (
	maxExtensions    = 500
	maxExtensionFile = 64 << 20
	maxDescription   = 4 << 20 // of package.json, and of one schema
)

// extension is a prebuilt ("federated") extension of JupyterLab, as pip or conda
// install it below share/jupyter/labextensions: static/, schemas/ and a
// package.json whose jupyterlab._build says what to load. Format: JupyterLab's
// extension developer guide, "prebuilt extensions".
type extension struct {
	Name      string `json:"name"`
	Load      string `json:"load"`
	Extension string `json:"extension,omitempty"`
	Style     string `json:"style,omitempty"`
	Mime      string `json:"mimeExtension,omitempty"`

	files fs.FS
}

// Folder holds prebuilt extensions.
type Folder struct {
	fs.FS
	// Replaces lets them take the place of built-in ones of the same name. The
	// built-in ones were tested with this lab and come compressed, so those of a
	// kernel image should not.
	Replaces bool
}

type extensions struct {
	list []*extension
	of   map[string]*extension
}

// readExtensions finds what the folders hold; of two of one name the one in the
// earlier folder counts. One that cannot be read is told and left out: the lab
// works without it.
func readExtensions(folders []Folder, known schemas, log *slog.Logger) (out extensions, found []*schema) {
	out.of = map[string]*extension{}
	for _, folder := range folders {
		for _, name := range extensionNames(folder) {
			if out.of[name] != nil || len(out.list) == maxExtensions || !folder.Replaces && known.has(name) {
				continue
			}
			files, err := fs.Sub(folder, name)
			var one *extension
			if err == nil {
				one, err = readExtension(files, name)
			}
			if err != nil {
				log.Warn("lab extension left out", "extension", name, "error", err)
				continue
			}
			out.of[name], out.list = one, append(out.list, one)
			found = append(found, extensionSchemas(one, log)...)
		}
	}
	return out, found
}

// forPage is the page config's list: never null.
func (e extensions) forPage() []*extension {
	if e.list == nil {
		return []*extension{}
	}
	return e.list
}

// has reports whether a built-in extension of that name has settings.
func (s schemas) has(name string) bool {
	return slices.ContainsFunc(s.list, func(one *schema) bool { return strings.HasPrefix(one.ID, name+":") })
}

// extensionNames are the names below a folder: NAME or @SCOPE/NAME.
func extensionNames(folder fs.FS) (out []string) {
	entries, _ := fs.ReadDir(folder, ".")
	for _, e := range entries {
		switch {
		case !strings.HasPrefix(e.Name(), "@"):
			out = append(out, e.Name())
		default:
			below, _ := fs.ReadDir(folder, e.Name())
			for _, b := range below {
				out = append(out, path.Join(e.Name(), b.Name()))
			}
		}
	}
	return slices.DeleteFunc(out, func(name string) bool {
		st, err := fs.Stat(folder, path.Join(name, "package.json"))
		return err != nil || !st.Mode().IsRegular()
	})
}

func readExtension(files fs.FS, name string) (*extension, error) {
	b, err := readBounded(files, "package.json")
	if err != nil {
		return nil, err
	}
	var p struct {
		Name       string `json:"name"`
		JupyterLab struct {
			Build extension `json:"_build"`
		} `json:"jupyterlab"`
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("package.json: %w", err)
	}
	one := p.JupyterLab.Build
	if one.Load == "" {
		return nil, errors.New("package.json has no jupyterlab._build.load: it is not a prebuilt extension")
	}
	if p.Name != name { // the page asks by the name, the folder answers
		return nil, fmt.Errorf("package.json is of %q", p.Name)
	}
	if !fs.ValidPath(one.Load) {
		return nil, fmt.Errorf("package.json loads %q", one.Load)
	}
	one.Name, one.files = name, files
	return &one, nil
}

// extensionSchemas are the settings that an extension brings.
func extensionSchemas(e *extension, log *slog.Logger) (out []*schema) {
	folder := path.Join("schemas", e.Name)
	entries, err := fs.ReadDir(e.files, folder)
	if err != nil {
		return nil
	}
	var version struct {
		Version string `json:"version"`
	}
	if b, err := readBounded(e.files, "package.json"); err == nil {
		_ = json.Unmarshal(b, &version)
	}
	for _, entry := range entries {
		base, isSchema := strings.CutSuffix(entry.Name(), ".json")
		if !isSchema {
			continue
		}
		b, err := readBounded(e.files, path.Join(folder, entry.Name()))
		if err == nil && !json.Valid(b) {
			err = errors.New("not JSON")
		}
		if err != nil {
			log.Warn("settings of a lab extension left out", "extension", e.Name, "schema", entry.Name(), "error", err)
			continue
		}
		out = append(out, &schema{ID: e.Name + ":" + base, Version: version.Version, Schema: b})
	}
	return out
}

func readBounded(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxDescription+1))
	if err == nil && len(b) > maxDescription {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxDescription)
	}
	return b, err
}

// extensionFile serves one file of an extension: NAME/FILE or @SCOPE/NAME/FILE.
func (l *lab) extensionFile(w http.ResponseWriter, r *http.Request, rest string) error {
	parts := strings.SplitN(rest, "/", 3)
	name, file := parts[0], strings.Join(parts[1:], "/")
	if strings.HasPrefix(name, "@") && len(parts) == 3 {
		name, file = parts[0]+"/"+parts[1], parts[2]
	}
	e := l.extensions.of[name]
	if e == nil || !fs.ValidPath(file) {
		return fault.New(fault.NotFound, "no_such_file", "The lab has no such extension, or the extension no such file.")
	}
	f, err := e.files.Open(file)
	if err != nil {
		return fault.Wrap(fault.NotFound, "no_such_file", "The extension has no such file.", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxExtensionFile {
		return fault.New(fault.NotFound, "no_such_file", "The extension has no such file.")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxExtensionFile))
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", mediaType(file))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-cache") // only most of their names hold hashes
	if unchanged(w, r, data) {
		return nil
	}
	http.ServeContent(w, r, "", st.ModTime(), bytes.NewReader(data))
	return nil
}

// operatorConfig is labconfig/page_config.json, read each time so that a change
// needs no restart. Extensions are named in an object, true meaning disabled, as
// jupyter labextension disable writes it, or in a list.
func (l *lab) operatorConfig() (map[string]any, error) {
	if l.Operator == nil {
		return nil, nil
	}
	b, err := readBounded(l.Operator, "page_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out map[string]any
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("page_config.json: %w", err)
	}
	for _, key := range []string{"disabledExtensions", "deferredExtensions", "lockedExtensions"} {
		switch named := out[key].(type) {
		case nil, []any:
		case map[string]any:
			list := []any{}
			for name, on := range named {
				if on == true {
					list = append(list, name)
				}
			}
			slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			out[key] = list
		default:
			return nil, fmt.Errorf("page_config.json: %s is neither an object nor a list", key)
		}
	}
	for _, key := range []string{"baseUrl", "token", "federated_extensions"} {
		delete(out, key) // the server's own to say
	}
	return out, nil
}
