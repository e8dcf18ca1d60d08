package lab

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"regexp"

	"cellar/internal/fault"
)

// Sections are the front end's older way to keep small things: /api/config/NAME, one JSON object each.

const sectionsFolder = "config"

var sectionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}$`)

func (l *lab) configRoute(w http.ResponseWriter, r *http.Request, name string) error {
	if !sectionName.MatchString(name) {
		return errNothing
	}
	root, err := l.Store(r)
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodPut, http.MethodPatch:
		return l.changeSection(w, r, root, name)
	}
	section, err := readSection(root, name)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, section)
}

func readSection(root *os.Root, name string) (map[string]any, error) {
	own, err := find(root, sectionsFolder, name+".json")
	section := map[string]any{}
	if err == nil && own.data != nil {
		err = json.Unmarshal(own.data, &section)
	}
	return section, err
}

// changeSection replaces a section (PUT), or lays the change over it (PATCH), where null takes away.
func (l *lab) changeSection(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	data, err := body(w, r)
	if err != nil {
		return err
	}
	var change map[string]any
	if err := json.Unmarshal(data, &change); err != nil || change == nil {
		return fault.Wrap(fault.Invalid, "not_an_object", "A JSON object is expected.", orNull(err))
	}
	// Two patches at once must both count. The files are small and rarely written, so one lock for all
	// people, held while one is read and written, costs less than a lock for each.
	l.writing.Lock()
	defer l.writing.Unlock()
	section := change
	if r.Method == http.MethodPatch {
		if section, err = readSection(root, name); err != nil {
			return err
		}
		merge(section, change)
	}
	out, err := json.Marshal(section)
	if err != nil {
		return err
	}
	if err := keep(root, sectionsFolder, name+".json", out); err != nil {
		return err
	}
	if r.Method == http.MethodPut {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return writeJSON(w, http.StatusOK, out)
}

func merge(to, change map[string]any) {
	for key, value := range change {
		if value == nil {
			delete(to, key)
			continue
		}
		deeper, ok := value.(map[string]any)
		if !ok {
			to[key] = value
			continue
		}
		old, ok := to[key].(map[string]any)
		if !ok {
			old = map[string]any{}
		}
		old = maps.Clone(old)
		merge(old, deeper)
		to[key] = old
	}
}
