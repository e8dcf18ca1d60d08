package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"cellar/kernel/wire"
)

// kernel starts a kernel for one check.
func (t *try) kernel() string {
	a := t.call(http.StatusCreated, "POST", "api/kernels", map[string]string{"name": "python3"})
	id := a.at("id")
	t.later(func() { t.ask(request{method: "DELETE", path: "api/kernels/" + id}) })
	return id
}

// sharedKernel is one that checks use together, as they leave it as it was.
func (t *try) sharedKernel() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shared == "" {
		t.shared = t.call(http.StatusCreated, "POST", "api/kernels", map[string]string{"name": "python3"}).at("id")
	}
	return t.shared
}

// session opens a notebook in the check's folder; the kernel ends with the check.
func (t *try) session(name string) *answer {
	a := t.ask(request{method: "POST", path: "api/sessions", body: map[string]any{
		"path": t.dir + "/" + name, "name": name, "type": "notebook", "kernel": map[string]string{"name": "python3"},
	}})
	if a.status != http.StatusCreated {
		t.failf("opening %s is %d: %s", name, a.status, short(a.body))
	}
	id := a.at("id")
	t.later(func() { t.ask(request{method: "DELETE", path: "api/sessions/" + id}) })
	return a
}

// eventually asks until f is content, with a deadline of half a minute.
func (t *try) eventually(what string, f func() (bool, string)) {
	deadline := time.Now().Add(30 * time.Second)
	for {
		ok, got := f()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.failf("%s; it is %s", what, got)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var kernelChecks = []*check{
	{name: "kernels.life", run: kernelLife},
	{name: "kernels.restart", run: kernelRestart},
	{name: "kernels.interrupt", run: kernelInterrupt},
	{name: "kernels.execution-state", run: kernelExecutionState},
	{name: "kernels.connections", run: kernelConnections},
	{name: "kernels.last-activity", run: kernelLastActivity},
	{name: "kernels.in-the-folder-of-the-path", run: kernelFolder},
	{name: "kernels.logos", run: kernelLogos},
	{name: "sessions.life", run: sessionLife},
	{name: "sessions.open-again", run: sessionAgain},
	{name: "sessions.rename", run: sessionRename},
	{name: "sessions.rename-onto-another", run: sessionOntoAnother},
	{name: "sessions.change-kernel", run: sessionChangeKernel},
	{name: "sessions.on-a-running-kernel", run: sessionOnKernel},
	{name: "sessions.same-path-concurrent", run: sessionsAtOnce},
	{name: "sessions.delete-ends-kernel", run: sessionDelete},
}

func kernelLife(t *try) {
	a := t.call(http.StatusCreated, "POST", "api/kernels", map[string]string{"name": "python3"})
	id := a.at("id")
	if d := differ("model", a.value(), map[string]any{"id": "<string>", "name": "python3", "last_activity": "<time>", "execution_state": "<string>", "connections": "<number>"}); d != "" {
		t.failf("%s", d)
	}
	if loc := a.header.Get("Location"); !strings.HasSuffix(loc, "/api/kernels/"+id) {
		t.failf("Location is %q", loc)
	}
	found := false
	for _, k := range t.get("api/kernels").list() {
		found = found || k["id"] == id
	}
	if !found {
		t.failf("the kernel is not listed")
	}
	t.want("the kernel's name", t.get("api/kernels/"+id).at("name"), "python3")
	a = t.call(http.StatusNoContent, "DELETE", "api/kernels/"+id, nil)
	t.want("the answer of DELETE", len(a.body), 0)
	t.call(http.StatusNotFound, "GET", "api/kernels/"+id, nil)
}

func kernelRestart(t *try) {
	id := t.kernel()
	c := t.client(id)
	c.printed("x = 1; print(x)", "1\n")
	a := t.call(http.StatusOK, "POST", "api/kernels/"+id+"/restart", nil)
	t.want("the kernel's ID", a.at("id"), id)
	c = t.client(id)
	h := c.exec("print('x' in globals())")
	t.want("what is left of x", h.text("stdout"), "False\n")
}

func kernelInterrupt(t *try) {
	id := t.kernel()
	c := t.client(id)
	asked := c.send(wire.Shell, "execute_request", code("print('go', flush=True)\nimport time\nwhile True: time.sleep(0.1)"))
	for m := c.next(); m.kind != "stream"; m = c.next() {
	}
	t.call(http.StatusNoContent, "POST", "api/kernels/"+id+"/interrupt", nil)
	h := c.hear(asked)
	if e := h.first("error"); e == nil || e.text("ename") != "KeyboardInterrupt" {
		t.failf("no KeyboardInterrupt came")
	}
	t.want("the reply's status", h.reply.text("status"), "error")
	c.printed("print(2)", "2\n")
}

func kernelExecutionState(t *try) {
	id := t.kernel()
	c := t.client(id)
	c.printed("print(1)", "1\n")
	state := func(want string) {
		t.eventually("the kernel should be "+want, func() (bool, string) {
			got := t.get("api/kernels/" + id).at("execution_state")
			return got == want, got
		})
	}
	state("idle")
	asked := c.send(wire.Shell, "execute_request", code("input('?')"))
	for m := c.next(); m.kind != "input_request"; m = c.next() {
	}
	state("busy")
	c.send(wire.Stdin, "input_reply", map[string]string{"value": "", "status": "ok"})
	c.hear(asked)
	state("idle")
}

func kernelConnections(t *try) {
	id := t.kernel()
	count := func(want string) {
		t.eventually("the kernel should have "+want+" connections", func() (bool, string) {
			got := t.get("api/kernels/" + id).at("connections")
			return got == want, got
		})
	}
	count("0")
	a := t.client(id)
	a.printed("print(1)", "1\n")
	t.open(id, "json").printed("print(1)", "1\n")
	count("2")
	a.ws.Close()
	count("1")
}

func kernelLastActivity(t *try) {
	id := t.kernel()
	before := t.get("api/kernels/" + id).at("last_activity")
	t.client(id).printed("print(1)", "1\n")
	t.eventually("last_activity should grow", func() (bool, string) {
		got := t.get("api/kernels/" + id).at("last_activity")
		return got > before, got
	})
}

func kernelFolder(t *try) {
	t.text("here.txt", "x")
	a := t.session("n.ipynb")
	t.client(a.at("kernel", "id")).printed("import os; print(os.path.exists('here.txt'))", "True\n")
}

func kernelLogos(t *try) {
	specs, _ := t.get("api/kernelspecs").value().(map[string]any)["kernelspecs"].(map[string]any)
	spec, _ := specs["python3"].(map[string]any)
	resources, _ := spec["resources"].(map[string]any)
	for _, name := range []string{"logo-svg", "logo-64x64", "logo-32x32"} {
		path, ok := resources[name].(string)
		if !ok {
			t.failf("there is no resource %s", name)
		}
		a := t.call(http.StatusOK, "GET", path, nil)
		if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "image/") || len(a.body) == 0 {
			t.failf("%s is %s of %d bytes", path, kind, len(a.body))
		}
	}
}

func sessionLife(t *try) {
	a := t.session("n.ipynb")
	want := map[string]any{
		"id": "<string>", "path": t.dir + "/n.ipynb", "name": "n.ipynb", "type": "notebook",
		"kernel":   map[string]any{"id": "<string>", "name": "python3", "last_activity": "<time>", "execution_state": "<string>", "connections": "<number>"},
		"notebook": map[string]any{"path": t.dir + "/n.ipynb"},
	}
	if d := differ("model", a.value(), want); d != "" {
		t.failf("%s", d)
	}
	if d := differ("model", t.get("api/sessions/"+a.at("id")).value(), want); d != "" {
		t.failf("asked again: %s", d)
	}
	found := false
	for _, s := range t.get("api/sessions").list() {
		found = found || s["id"] == a.at("id")
	}
	if !found {
		t.failf("the session is not listed")
	}
}

func sessionAgain(t *try) {
	a, b := t.session("n.ipynb"), t.session("n.ipynb")
	t.want("the second session", b.at("id"), a.at("id"))
	t.want("its kernel", b.at("kernel", "id"), a.at("kernel", "id"))
}

func sessionRename(t *try) {
	a := t.session("n.ipynb")
	b := t.call(http.StatusOK, "PATCH", "api/sessions/"+a.at("id"), map[string]string{"path": t.dir + "/m.ipynb", "name": "m.ipynb"})
	t.want("the path", b.at("path"), t.dir+"/m.ipynb")
	t.want("the name", b.at("name"), "m.ipynb")
	t.want("the kernel", b.at("kernel", "id"), a.at("kernel", "id"))
	t.want("the path, asked again", t.get("api/sessions/"+a.at("id")).at("path"), t.dir+"/m.ipynb")
}

// sessionOntoAnother is what two pages of JupyterLab do that open a notebook within seconds: each opens a session
// by a path of its own, and then moves it to the notebook's.
func sessionOntoAnother(t *try) {
	a, b := t.session("n.ipynb"), t.session("of-the-second-page")
	moved := t.call(http.StatusOK, "PATCH", "api/sessions/"+b.at("id"), map[string]string{"path": t.dir + "/n.ipynb"})
	t.want("the path", moved.at("path"), t.dir+"/n.ipynb")
	t.want("the kernel", moved.at("kernel", "id"), b.at("kernel", "id"))
	for _, s := range []*answer{a, b} {
		t.want("the kernel, asked again", t.get("api/sessions/"+s.at("id")).at("kernel", "id"), s.at("kernel", "id"))
	}
}

func sessionChangeKernel(t *try) {
	a := t.session("n.ipynb")
	old := a.at("kernel", "id")
	b := t.call(http.StatusOK, "PATCH", "api/sessions/"+a.at("id"), map[string]any{"kernel": map[string]string{"name": "python3"}})
	t.want("the session", b.at("id"), a.at("id"))
	if b.at("kernel", "id") == old {
		t.failf("the kernel is still the old one")
	}
	t.call(http.StatusNotFound, "GET", "api/kernels/"+old, nil)
	t.client(b.at("kernel", "id")).printed("print(3)", "3\n")
}

func sessionOnKernel(t *try) {
	id := t.kernel()
	a := t.ask(request{method: "POST", path: "api/sessions", body: map[string]any{
		"path": t.dir + "/n.ipynb", "name": "n.ipynb", "type": "notebook", "kernel": map[string]string{"id": id},
	}})
	t.want("the status", a.status, http.StatusCreated)
	t.want("the kernel", a.at("kernel", "id"), id)
}

func sessionsAtOnce(t *try) {
	const n = 4
	answers := make([]*answer, n)
	var wg sync.WaitGroup
	for i := range n {
		one := &try{site: t.site, ctx: t.ctx, world: t.world, dir: t.dir}
		wg.Go(func() {
			defer func() { recover() }() // told below: there is no answer
			answers[i] = one.ask(request{method: "POST", path: "api/sessions", body: map[string]any{
				"path": t.dir + "/n.ipynb", "name": "n.ipynb", "type": "notebook", "kernel": map[string]string{"name": "python3"},
			}})
		})
	}
	wg.Wait()
	sessions, kernels := map[string]bool{}, map[string]bool{}
	for i, a := range answers {
		if a == nil || a.status != http.StatusCreated {
			t.failf("client %d was not served", i)
		}
		if id := a.at("id"); !sessions[id] {
			t.later(func() { t.ask(request{method: "DELETE", path: "api/sessions/" + id}) })
		}
		sessions[a.at("id")], kernels[a.at("kernel", "id")] = true, true
	}
	if len(sessions) != 1 || len(kernels) != 1 {
		t.failf("%d clients at once got %d sessions on %d kernels", n, len(sessions), len(kernels))
	}
}

func sessionDelete(t *try) {
	a := t.session("n.ipynb")
	t.call(http.StatusNoContent, "DELETE", "api/sessions/"+a.at("id"), nil)
	t.call(http.StatusNotFound, "GET", "api/sessions/"+a.at("id"), nil)
	t.eventually("the kernel should be gone", func() (bool, string) {
		b := t.ask(request{method: "GET", path: "api/kernels/" + a.at("kernel", "id")})
		return b.status == http.StatusNotFound, fmt.Sprint(b.status)
	})
}
