package acceptance

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mattn/go-sqlite3"

	"cellar/internal/testkit"
)

// commMessage is what is said on a comm.
type commMessage struct {
	ID   string `json:"comm_id"`
	Data struct {
		Method string
		State  map[string]any
	}
}

func commOf(t *testing.T, m testkit.Heard) (c commMessage) {
	t.Helper()
	if err := json.Unmarshal(m.Content, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// widgets asks as a page does that was just opened: the comms that there are.
func widgets(c *testkit.Channels) (ids []string) {
	c.T.Helper()
	var info struct {
		Comms map[string]struct {
			Target string `json:"target_name"`
		}
	}
	c.Reply(c.Send("shell", "comm_info_request", map[string]string{"target_name": "jupyter.widget"}), &info)
	for id := range info.Comms {
		ids = append(ids, id)
	}
	return ids
}

// openControl asks for the state of all widgets, as JupyterLab does when it opens
// a notebook, whether that has any or not.
func openControl(c *testkit.Channels) (opened, asked string) {
	opened = c.Send("shell", "comm_open", map[string]any{"comm_id": "control", "target_name": "jupyter.widget.control", "data": map[string]any{}})
	asked = c.Send("shell", "comm_msg", map[string]any{"comm_id": "control", "data": map[string]string{"method": "request_states"}})
	return opened, asked
}

// TestWidgetsSleep: a widget that a person has moved has its value for a client
// that comes after the kernel slept, and goes on.
func TestWidgetsSleep(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Widgets")
	c := h.Channels(p, k, "", true)
	id := c.Run("import ipywidgets\ns = ipywidgets.IntSlider(value=3, max=100)\nprint(s.model_id)")
	model := strings.TrimSpace(testkit.Printed(c.End(id), id))
	move := func(c *testkit.Channels, to int) {
		c.End(c.Send("shell", "comm_msg", map[string]any{"comm_id": model, "data": map[string]any{"method": "update", "state": map[string]int{"value": to}, "buffer_paths": []any{}}}))
	}
	move(c, 41)
	c.Close()
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	for _, when := range []string{"asleep", "asleep, and another hub"} {
		c = h.Channels(p, k, "", true)
		if ids := widgets(c); !slices.Contains(ids, model) {
			t.Errorf("%s: widgets %v, want %s among them", when, ids, model)
		}
		c.Close()
		if v := h.kernel(p, k); v.State != "hibernated" {
			t.Errorf("%s: being asked it is %s", when, v.State)
		}
		h.kill(syscall.SIGKILL)
		h.start()
	}
	c = h.Channels(p, k, "", false)
	id = c.Send("shell", "comm_msg", map[string]any{"comm_id": model, "data": map[string]string{"method": "request_state"}})
	said := c.Until("its state", func(m testkit.Heard) bool { return m.Kind == "comm_msg" && m.Parent == id })
	if got := commOf(t, said[len(said)-1]); got.ID != model || got.Data.Method != "update" || got.Data.State["value"] != 41.0 || got.Data.State["_model_name"] != "IntSliderModel" {
		t.Errorf("its state: %+v", got)
	}
	move(c, 42)
	id = c.Run("print(s.value)")
	if got := testkit.Printed(c.End(id), id); got != "42\n" {
		t.Errorf("moved after it woke: %q", got)
	}
}

// TestNoWidgetsAsleep: what a page asks for widgets when it opens the notebook of a
// kernel that sleeps is answered without it where there are none.
func TestNoWidgetsAsleep(t *testing.T) {
	h := startHub(t)
	p, k, s := faulty(h)
	s.Close()
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	c := h.Channels(p, k, "", true)
	c.Reply(c.Send("shell", "kernel_info_request", map[string]any{}), nil)
	opened, asked := openControl(c)
	all := c.Until("the end of what was asked", func(m testkit.Heard) bool { return m.Idle(asked) })
	if !slices.ContainsFunc(all, func(m testkit.Heard) bool { return m.Kind == "comm_close" && m.Parent == opened }) {
		t.Errorf("the comm that nobody answers is not closed: %v", kinds(all))
	}
	if ids := widgets(c); len(ids) != 0 {
		t.Errorf("widgets: %v", ids)
	}
	if v := h.kernel(p, k); v.State != "hibernated" {
		t.Errorf("the kernel is %s", v.State)
	}
	id := c.Run("print(x)")
	if got := testkit.Printed(c.End(id), id); got != "41\n" {
		t.Errorf("x = %q", got)
	}
}

// payloads are what a reply asks the page to do.
func payloads(t *testing.T, m testkit.Heard) (out []string) {
	t.Helper()
	var c struct {
		Payload []struct {
			Source string
			Text   string
			Data   map[string]string
		}
	}
	if err := json.Unmarshal(m.Content, &c); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Payload {
		out = append(out, p.Source+" "+p.Text+p.Data["text/plain"])
	}
	return out
}

// TestPayloads: the pager's text and the next cell's reach who asked, also when
// the line was cut meanwhile, and nobody else; no notebook gets them as outputs.
func TestPayloads(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Payloads")
	want := func(when string, m testkit.Heard) {
		t.Helper()
		got := payloads(t, m)
		if len(got) != 2 || !strings.HasPrefix(got[0]+got[1], "set_next_input x = 2") && !strings.HasPrefix(got[1], "set_next_input x = 2") || !strings.Contains(strings.Join(got, "\n"), "Return the number of items") {
			t.Errorf("%s: %q", when, got)
		}
	}
	const code = "get_ipython().set_next_input('x = 2')\nget_ipython().run_line_magic('pinfo', 'len')"
	for _, v1 := range []bool{true, false} {
		c := h.Channels(p, k, "", v1)
		want(fmt.Sprint("v1 ", v1), c.Reply(c.Run(code), nil))
	}
	wait := func(file string) string {
		return fmt.Sprintf("import os, time\nwhile not os.path.exists(%q): time.sleep(.01)\nprint('done')\n%s", file, code)
	}
	// The line is cut, and the same page comes back.
	c := h.Channels(p, k, "page", true)
	id := c.Run(wait("first"))
	c.Until("it runs", func(m testkit.Heard) bool { return m.Kind == "execute_input" && m.Parent == id })
	c.Close()
	touch(t, h.inProject(p, "first"))
	want("after the line was cut", h.Channels(p, k, "page", true).Reply(id, nil))

	// Nobody is there.
	s := h.Open(p, k)
	s.Send(wait("second"), "data")
	soon(t, func() bool { return runState(h, p, "data") == "running" })
	s.Close()
	touch(t, h.inProject(p, "second"))
	soon(t, func() bool { text, _ := h.notebookOnDisk(p, "tour.ipynb", "data"); return text == "done\n" })
	b, err := os.ReadFile(h.inProject(p, "tour.ipynb"))
	if err != nil || strings.Contains(string(b), "Return the number of items") || strings.Contains(string(b), "x = 2") {
		t.Errorf("the notebook: %v, %s", err, b)
	}
	other := h.Channels(p, k, "", true)
	id = other.Run("print(1)")
	if all := other.End(id); slices.ContainsFunc(all, func(m testkit.Heard) bool { return m.Kind == "execute_reply" && m.Parent != id }) {
		t.Errorf("a page that asked for nothing hears %v", kinds(all))
	}
}

func (h *hub) inProject(project, name string) string {
	return filepath.Join(h.data, "projects", project, "files", name)
}

// outputsOnDisk are the outputs of a cell in a notebook's file.
func (h *hub) outputsOnDisk(project, path, cell string) string {
	h.t.Helper()
	b, err := os.ReadFile(h.inProject(project, path))
	if err != nil {
		h.t.Fatal(err)
	}
	var doc struct {
		Cells []struct {
			ID      string
			Outputs []struct {
				Text any
				Data map[string]any
			}
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		h.t.Fatal(err)
	}
	out := ""
	for _, c := range doc.Cells {
		for _, o := range c.Outputs {
			if c.ID != cell {
				continue
			}
			for _, part := range []any{o.Text, o.Data["text/plain"]} {
				if list, ok := part.([]any); ok {
					for _, line := range list {
						out += fmt.Sprint(line)
					}
				} else if part != nil {
					out += fmt.Sprint(part)
				}
			}
			out += "|"
		}
	}
	return out
}

// TestClearOutput: an output that is cleared goes when the next one comes, with a
// page that looks on and with none.
func TestClearOutput(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Clear")
	cells := []struct{ id, code, want string }{
		{"wait", "for i in range(5):\n    clear_output(wait=True)\n    print(i)", "4\n|"},
		{"pending", "print('stays')\nclear_output(wait=True)", "stays\n|"},
		{"now", "print('goes')\nclear_output()", ""},
		{"mixed", "print('a')\nclear_output(wait=True)\ndisplay('b')\nprint('c')", "'b'|c\n|"},
		{"error", "print('a')\nclear_output(wait=True)\n1/0", "|"},
	}
	sources := map[string]string{}
	for _, c := range cells {
		sources[c.id] = c.code
	}
	for _, tab := range []bool{false, true} {
		path := fmt.Sprintf("clear-%v.ipynb", tab)
		putNotebook(t, h, p, path, sources)
		k := h.session(p, path)
		s := h.Open(p, k)
		s.Exec("from IPython.display import clear_output, display\nimport os, time")
		if !tab { // not before the page has gone
			s.Send("while not os.path.exists('go'): time.sleep(.01)", "")
		}
		for _, c := range cells {
			sent := s.Send(c.code, c.id)
			if !tab {
				continue
			}
			shown, clear := []string{}, false
			for _, m := range s.Hear(sent) { // as a page shows it
				if m.Type == "clear_output" {
					clear = true
					if c.id == "now" {
						shown, clear = nil, false
					}
					continue
				}
				text := m.Text + m.Data["text/plain"]
				if m.Type == "status" || m.Type == "execute_input" {
					continue
				}
				if clear {
					shown, clear = nil, false
				}
				shown = append(shown, text+"|")
			}
			if got := strings.Join(shown, ""); got != c.want {
				t.Errorf("%s, a page shows %q", c.id, got)
			}
		}
		s.Close()
		touch(t, h.inProject(p, "go"))
		for _, c := range slices.Backward(cells) { // the last has run when the others have
			soon(t, func() bool { return runEnded(h, p, path, c.id) })
			soon(t, func() bool { return h.outputsOnDisk(p, path, c.id) == c.want })
		}
	}
}

// runEnded reports whether nothing of a cell is under way.
func runEnded(h *hub, project, path, cell string) bool {
	var list struct {
		Items []struct {
			CellID string `json:"cell_id"`
			State  string
		}
	}
	h.Want(200, "GET", "/api/v1/projects/"+project+"/runs?path="+path, nil, &list)
	for _, r := range list.Items {
		if r.CellID == cell && (r.State == "running" || r.State == "queued") {
			return false
		}
	}
	return true
}

// TestDisplayOutlivesTheHub: a cell changes what another has shown, and a hub died
// in between; the notebook has the other's output already, from the hub or from
// a page, or not yet.
func TestDisplayOutlivesTheHub(t *testing.T) {
	h := startHub(t)
	for _, how := range []string{"by the hub", "by a page", "while it runs"} {
		t.Run(how, func(t *testing.T) {
			h.T, h.t = t, t
			p, _ := h.project("Display")
			defer h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
			cells := map[string]string{"a": "1", "b": "2"}
			putNotebook(t, h, p, "d.ipynb", cells)
			k := h.session(p, "d.ipynb")
			s := h.Open(p, k)
			s.Exec("import os, time")
			s.Wait(s.Send("h = display('one', display_id='bar')", "a"))
			switch how {
			case "by a page":
				var m struct{ Content json.RawMessage }
				h.Want(200, "GET", "/projects/"+p+"/api/contents/d.ipynb?content=1", nil, &m)
				h.Want(200, "PUT", "/projects/"+p+"/api/contents/d.ipynb", map[string]any{"type": "notebook", "format": "json", "content": m.Content}, nil)
			case "while it runs":
				s.Send("while not os.path.exists('go'): time.sleep(.01)\nh.update('two')", "b")
				soon(t, func() bool { return !runEnded(h, p, "d.ipynb", "b") })
			}
			s.Close()
			soon(t, func() bool { return h.outputsOnDisk(p, "d.ipynb", "a") == "'one'|" })
			soon(t, func() bool { return h.acknowledged(k) >= 13 }) // all up to the end of a
			h.kill(syscall.SIGKILL)
			h.start()
			if how == "while it runs" {
				touch(t, h.inProject(p, "go"))
			} else {
				s = h.Open(p, k)
				s.Send("h.update('two')", "b")
				s.Close()
			}
			soon(t, func() bool { return h.outputsOnDisk(p, "d.ipynb", "a") == "'two'|" })
			if got := h.outputsOnDisk(p, "d.ipynb", "b"); got != "" {
				t.Errorf("the other cell shows %q", got)
			}
		})
	}
}

// acknowledged is how much of a kernel's journal the hub needs no more.
func (h *hub) acknowledged(kernel string) (seq int) {
	h.t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(h.data, "cellar.db")+"?mode=ro")
	if err != nil {
		h.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT acked FROM kernels WHERE id = ?", kernel).Scan(&seq); err != nil {
		h.t.Fatal(err)
	}
	return seq
}
