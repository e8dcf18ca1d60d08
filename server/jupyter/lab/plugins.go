package lab

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"cellar/internal/fault"
)

// Plugins of the page that a person switched off in JupyterLab's plugin manager. They are that
// person's in that project, and count from the next time the page is opened.

const (
	pluginsFolder = "plugins"
	pluginsFile   = "disabled.json"
	maxDisabled   = 2000 // names; the page has about 250 plugins
)

// pluginName is an extension's name, or that of one of its plugins after a colon.
var pluginName = regexp.MustCompile(`^(@[A-Za-z0-9._-]{1,100}/)?[A-Za-z0-9._-]{1,100}(:[A-Za-z0-9._-]{1,100})?$`)

func (l *lab) pluginsRoute(w http.ResponseWriter, r *http.Request, rest string) error {
	if rest != "" {
		return errNothing
	}
	locked, err := l.lockedPlugins(r)
	if err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		return answer(w, http.StatusOK, map[string]any{"allLocked": false, "lockRules": locked})
	}
	data, err := body(w, r)
	if err != nil {
		return err
	}
	var ask struct {
		Command string `json:"cmd"`
		Plugin  string `json:"plugin_name"`
	}
	if err := json.Unmarshal(data, &ask); err != nil {
		return fault.Wrap(fault.Invalid, "not_an_object", "A JSON object is expected.", err)
	}
	if ask.Command != "enable" && ask.Command != "disable" || !pluginName.MatchString(ask.Plugin) {
		return fault.New(fault.Invalid, "bad_command", "Enable or disable which plugin?")
	}
	extension, _, _ := strings.Cut(ask.Plugin, ":")
	if slices.Contains(locked, ask.Plugin) || slices.Contains(locked, extension) {
		return fault.Newf(fault.Denied, "plugin_locked", "%s is switched off by this server for everybody.", ask.Plugin)
	}
	if err := l.switchPlugin(r, ask.Plugin, ask.Command == "disable"); err != nil {
		return err
	}
	return answer(w, http.StatusCreated, map[string]any{"status": "ok", "message": nil, "needs_restart": []string{"frontend"}})
}

// lockedPlugins are those that the server or its operator switched off.
func (l *lab) lockedPlugins(r *http.Request) ([]string, error) {
	operator, err := l.operatorConfig()
	if err != nil {
		l.Log.Error("the operator's page config is left out", "error", err)
	}
	over, err := l.Page(r)
	if err != nil {
		return nil, err
	}
	return l.disabled(operator["disabledExtensions"], over["disabledExtensions"]), nil
}

func (l *lab) switchPlugin(r *http.Request, plugin string, off bool) error {
	root, err := l.Store(r)
	if err != nil {
		return err
	}
	l.writing.Lock() // see changeSection
	defer l.writing.Unlock()
	names, err := disabledPlugins(root)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == plugin })
	if off {
		names = append(names, plugin)
	}
	if len(names) > maxDisabled {
		return fault.New(fault.Exhausted, "too_many", "There are too many of these already.")
	}
	out, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return keep(root, pluginsFolder, pluginsFile, out)
}

// disabledPlugins are the ones that the person switched off.
func disabledPlugins(root *os.Root) ([]string, error) {
	own, err := find(root, pluginsFolder, pluginsFile)
	names := []string{}
	if err == nil && own.data != nil {
		err = json.Unmarshal(own.data, &names)
	}
	return names, err
}

// ownDisabled is for the page: whatever is wrong with the list, the page must open.
func (l *lab) ownDisabled(r *http.Request) []string {
	root, err := l.Store(r)
	if err != nil {
		l.Log.Error("a person's list of disabled plugins is left out", "error", err)
		return nil
	}
	names, err := disabledPlugins(root)
	if err != nil {
		l.Log.Error("a person's list of disabled plugins is left out", "error", err)
		return nil
	}
	return names
}
