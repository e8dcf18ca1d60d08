package lab

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"

	"cellar/internal/fault"
)

const (
	settingsFolder = "settings"
	settingsEnding = ".jupyterlab-settings"
)

// schema is one plugin's settings as the build brings them.
type schema struct {
	ID      string          `json:"id"`
	Version string          `json:"version"`
	Schema  json.RawMessage `json:"schema"`

	opening []byte // the JSON of the three, ready but for its end
}

type schemas struct {
	list []*schema
	of   map[string]*schema
}

func readSchemas(build fs.FS) (s schemas, err error) {
	data, err := readBuilt(build, "settings.json")
	if err != nil {
		return s, err
	}
	var list []*schema
	if err := json.Unmarshal(data, &list); err != nil {
		return s, err
	}
	return s, s.add(list)
}

// add adds schemas; one that is there already is replaced, as by an extension
// that replaces a compiled-in one.
func (s *schemas) add(list []*schema) error {
	if s.of == nil {
		s.of = make(map[string]*schema, len(list))
	}
	for _, one := range list {
		out, err := json.Marshal(one)
		if err != nil {
			return err
		}
		one.opening = bytes.TrimSuffix(out, []byte("}"))
		if known := s.of[one.ID]; known != nil {
			*known = *one
			continue
		}
		s.of[one.ID], s.list = one, append(s.list, one)
	}
	return nil
}

func (s *schema) file() string { return url.PathEscape(s.ID) + settingsEnding }

// appendWith appends the schema with what the person set: the text as they wrote it, comments and all,
// and its values.
func (s *schema) appendWith(out []byte, own kept) ([]byte, error) {
	entry := struct {
		Raw      string          `json:"raw"`
		Settings json.RawMessage `json:"settings"`
		Warning  string          `json:"warning,omitempty"`
		Modified *string         `json:"last_modified"`
		Created  *string         `json:"created"`
	}{Raw: "{}", Settings: json.RawMessage("{}")}
	if own.data != nil {
		when := stamp(own.changed)
		entry.Raw, entry.Modified, entry.Created = string(own.data), &when, &when
		if values, err := parseSettings(own.data); err != nil {
			entry.Warning = fault.Sentence(err)
		} else {
			entry.Settings = values
		}
	}
	rest, err := json.Marshal(entry)
	if err != nil {
		return nil, err
	}
	out = append(append(out, s.opening...), ',')
	return append(out, rest[1:]...), nil
}

// parseSettings reads JSON with comments and answers it as JSON.
func parseSettings(raw []byte) (json.RawMessage, error) {
	plain := withoutComments(raw)
	var object map[string]json.RawMessage
	if err := json.Unmarshal(plain, &object); err != nil || object == nil {
		return nil, fault.Wrap(fault.Invalid, "bad_settings", "The settings are not a JSON object with comments.", orNull(err))
	}
	return plain, nil
}

// orNull is for the one JSON text that is no object and no error either.
func orNull(err error) error {
	if err == nil {
		return fault.New(fault.Invalid, "null", "The settings are null.")
	}
	return err
}

func (l *lab) settingsRoute(w http.ResponseWriter, r *http.Request, id string) error {
	if id == "" && r.Method == http.MethodPut {
		return fault.New(fault.Invalid, "no_id", "The settings of which plugin?")
	}
	if id == "" && r.URL.Query().Get("ids_only") == "true" {
		return l.settingIDs(w)
	}
	root, err := l.Store(r)
	if err != nil {
		return err
	}
	if id == "" {
		return l.allSettings(w, r, root)
	}
	one := l.settings.of[id]
	if one == nil {
		return fault.Newf(fault.NotFound, "no_such_settings", "There are no settings %s.", id)
	}
	if r.Method == http.MethodPut {
		return putSettings(w, r, root, one)
	}
	own, err := find(root, settingsFolder, one.file())
	if err != nil {
		return err
	}
	out, err := one.appendWith(nil, own)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

func (l *lab) settingIDs(w http.ResponseWriter) error {
	type id struct {
		ID string `json:"id"`
	}
	ids := make([]id, len(l.settings.list))
	for i, one := range l.settings.list {
		ids[i].ID = one.ID
	}
	return answer(w, http.StatusOK, map[string]any{"settings": ids})
}

// allSettings answers every schema at once: much, and the same each time. So it has a tag.
func (l *lab) allSettings(w http.ResponseWriter, r *http.Request, root *os.Root) error {
	names, err := keptNames(root, settingsFolder)
	if err != nil {
		return fault.Wrap(fault.Internal, "not_readable", "The settings could not be read.", err)
	}
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	out := []byte(`{"settings":[`)
	for i, one := range l.settings.list {
		var own kept
		if set[one.file()] {
			if own, err = find(root, settingsFolder, one.file()); err != nil {
				return err
			}
		}
		if i > 0 {
			out = append(out, ',')
		}
		if out, err = one.appendWith(out, own); err != nil {
			return err
		}
	}
	out = append(out, `]}`...)
	w.Header().Set("Cache-Control", "private, no-cache")
	if unchanged(w, r, out) {
		return nil
	}
	return writeJSON(w, http.StatusOK, out)
}

// putSettings keeps the raw text. Values are not checked against the schema: the browser does that,
// and a newer lab's settings must survive an older one.
func putSettings(w http.ResponseWriter, r *http.Request, root *os.Root, one *schema) error {
	data, err := body(w, r)
	if err != nil {
		return err
	}
	raw := data // older clients send the text itself
	if strings.Contains(r.Header.Get("Content-Type"), "json") || bytes.Contains(data, []byte(`"raw"`)) {
		var wrapped struct{ Raw *string }
		if json.Unmarshal(data, &wrapped) == nil && wrapped.Raw != nil {
			raw = []byte(*wrapped.Raw)
		}
	}
	if _, err := parseSettings(raw); err != nil {
		return err
	}
	if err := keep(root, settingsFolder, one.file(), raw); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
