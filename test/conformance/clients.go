package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"cellar/kernel/wire"
)

// clientFiles are the programs that run in the peer's root.
//
//go:embed clients
var clientFiles embed.FS

// onlyClients says why a client's check has one column.
const onlyClients = "here the other column is the client itself"

// clientChecks have Cellar served to clients that nobody here wrote.
var clientChecks = append([]*check{
	{name: "vscode.existing-server", run: vscode},
	{name: "nbclient.outputs", only: cellarSide, why: "its outputs are compared with those of a run on the peer's own kernel", run: nbclient, limit: 3 * time.Minute},
}, gatewayChecks()...)

// gatewayChecks are checks of kernels and channels through a jupyter_server whose
// kernels are Cellar's (its gateway client).
func gatewayChecks() (out []*check) {
	leave := map[string]bool{
		// The client takes binary frames for text, so no buffers pass; it knows the older framing only.
		"ws.comm": true, "ws.comm-12mb": true, "ws.comm-20mb": true,
		// It keeps the model it was told at the start: states and times that clients read are old.
		"kernels.execution-state": true, "kernels.last-activity": true, "kernels.connections": true, "ws.reconnect": true, "ws.other-session": true,
		// Its websockets of deleted kernels stay open, and opening at once is its own doing.
		"ws.delete-kernel": true, "sessions.same-path-concurrent": true,
		// Its files are not the kernel's.
		"kernels.in-the-folder-of-the-path": true,
	}
	for _, group := range [][]*check{kernelChecks, channelChecks} {
		for _, c := range group {
			name := strings.TrimSuffix(c.name, ".json")
			if leave[name] || strings.HasSuffix(c.name, ".v1") {
				continue
			}
			out = append(out, &check{name: "gateway." + c.name, only: cellarSide, why: onlyClients, run: func(t *try) {
				t.site = t.throughGateway()
				t.call(http.StatusCreated, "PUT", "api/contents/"+t.dir+"-g", map[string]string{"type": "directory"})
				t.dir += "-g"
				c.run(t)
			}})
		}
	}
	return out
}

// throughGateway is a jupyter_server in front of Cellar, started by the first who asks.
func (t *try) throughGateway() *site {
	w := t.world
	if w.gateway == nil {
		var err error
		w.gateway, err = w.startJupyter(context.WithoutCancel(t.ctx), "gateway",
			"--gateway-url="+strings.TrimRight(t.base, "/"), "--GatewayClient.auth_token="+t.token)
		t.must(err)
		w.gateway.jsonOnly = true
	}
	return w.gateway
}

// vscode replays what VS Code's Jupyter extension asks of an "existing Jupyter
// server": it looks whether a password is wanted, lists kernels and specs, opens a
// session on a path of its own for a notebook that stays on the person's machine,
// connects with the token in query and header, runs, and deletes the session.
func vscode(t *try) {
	follow := &http.Client{}
	a := t.ask(request{method: "GET", path: "", noToken: true, client: follow})
	if a.status != http.StatusOK && a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		t.failf("the base URL without a token is %d", a.status)
	}
	a = t.ask(request{method: "GET", path: "tree?", noToken: true})
	if a.status >= 500 {
		t.failf("tree? is %d", a.status)
	}
	secret := url.QueryEscape(t.token)
	for _, path := range []string{"api/kernels", "api/kernelspecs", "api/sessions"} {
		t.get(fmt.Sprintf("%s?%d&token=%s", path, time.Now().UnixMilli(), secret))
	}
	specs := t.get("api/kernelspecs")
	name := unique("n-jvsc") + ".ipynb"
	s := t.ask(request{method: "POST", path: "api/sessions?" + fmt.Sprint(time.Now().UnixMilli()), body: map[string]any{
		"kernel": map[string]string{"name": specs.at("default")}, "name": name, "path": name, "type": "notebook",
	}})
	t.want("the new session", s.status, http.StatusCreated)
	id, session := s.at("kernel", "id"), unique("s")
	ws, _, err := t.dial("api/kernels/"+id+"/channels?session_id="+session+"&token="+secret, []string{wire.SubprotocolV1}, t.withToken())
	t.must(err)
	c := &channels{t: t, ws: ws, v1: ws.Subprotocol() == wire.SubprotocolV1, session: session}
	c.hear(c.send(wire.Shell, "kernel_info_request", map[string]any{}))
	c.hear(c.send(wire.Shell, "comm_info_request", map[string]any{"target_name": "jupyter.widget"}))
	c.printed("print(6*7)", "42\n")
	t.call(http.StatusNoContent, "POST", "api/kernels/"+id+"/interrupt", nil)
	t.call(http.StatusOK, "POST", "api/kernels/"+id+"/restart", nil)
	t.call(http.StatusNoContent, "DELETE", "api/sessions/"+s.at("id"), nil)
	t.call(http.StatusNotFound, "GET", "api/kernels/"+id, nil)
}

// inPeer runs a program in the peer's root with the client files at /clients.
func (t *try) inPeer(argv ...string) []byte {
	dir := filepath.Join(t.world.work, "clients")
	if _, err := os.Stat(dir); err != nil {
		t.must(os.CopyFS(t.world.work, clientFiles))
	}
	line := peer([]string{"--bind", dir, "/clients"}, argv...)
	cmd := exec.CommandContext(t.ctx, line[0], line[1:]...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		b := said.Bytes()
		t.failf("%s: %v: %s", argv[0], err, b[max(0, len(b)-2000):])
	}
	return out
}

func nbclient(t *try) {
	var here, there any
	t.must(json.Unmarshal(t.inPeer("python3", "/clients/nbclient_run.py", "/clients/notebook.ipynb"), &here))
	t.must(json.Unmarshal(t.inPeer("python3", "/clients/nbclient_run.py", "/clients/notebook.ipynb", strings.TrimRight(t.base, "/"), t.token), &there))
	a, _ := here.([]any)
	b, _ := there.([]any)
	t.want("the number of cells", len(b), len(a))
	for i := range a {
		one, two := string(part(a[i])), string(part(b[i]))
		if one != two {
			t.failf("cell %d: on the peer's kernel %s, on Cellar's %s", i+1, short([]byte(one)), short([]byte(two)))
		}
	}
}
