package acceptance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cellar/internal/testkit"
)

// TestInferenceProtocol: a node as a model of the Open Inference Protocol.
func TestInferenceProtocol(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Models")
	putNotebook(t, h, p, "n.ipynb", map[string]string{"cell": "y = [[2 * v for v in row] for row in x]\nn = len(x)\nwords = [name, str(flag)]\nmean = total / n"})
	s := h.Open(p, h.session(p, "n.ipynb"))
	s.Exec("x = [[1.5, 2.0], [3.0, 4.0]]; name = 'a'; flag = True; total = 3")
	s.Exec("y = [[1.5]]; n = 1; words = ['a']; mean = 1.5")
	fields := func(list ...string) (out []any) {
		for _, f := range list {
			name, kind, _ := strings.Cut(f, ":")
			out = append(out, map[string]string{"name": name, "type": kind})
		}
		return out
	}
	var made struct{ ID, Key string }
	h.MustRun("/api/v1/projects/"+p+"/nodes", map[string]any{"name": "model", "source": map[string]string{"notebook": "n.ipynb", "cell": "cell"},
		"inputs": fields("x:array", "name:string", "flag:boolean", "total:number"), "outputs": fields("y:array", "n:integer", "words:array", "mean:number")}, &made)
	caller := &testkit.Client{T: t, Base: h.Base, Token: made.Key}
	for _, path := range []string{"/v2/health/live", "/v2/health/ready", "/v2/models/" + made.ID + "/ready", "/v2/models/" + made.ID + "/versions/1/ready"} {
		caller.Want(200, "GET", path, nil, nil)
	}
	var meta struct {
		Name, Platform  string
		Versions        []string
		Inputs, Outputs []struct{ Name, Datatype string }
	}
	caller.Want(200, "GET", "/v2/models/"+made.ID, nil, &meta)
	if meta.Name != made.ID || len(meta.Versions) != 1 || len(meta.Inputs) != 4 || meta.Inputs[2].Datatype != "BOOL" || meta.Outputs[1].Datatype != "INT64" {
		t.Errorf("%+v", meta)
	}
	call := `{"id":"42","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]},{"name":"name","shape":[1],"datatype":"BYTES","data":["ada"]},` +
		`{"name":"flag","shape":[1],"datatype":"BOOL","data":[false]},{"name":"total","shape":[1],"datatype":"INT64","data":[5]}]`
	want := `{"model_name":"` + made.ID + `","model_version":"1","id":"42","outputs":[{"name":"y","shape":[2,2],"datatype":"FP64","data":[2.0,4.0,6.0,8.0]},` +
		`{"name":"n","shape":[1],"datatype":"INT64","data":[2]},{"name":"words","shape":[2],"datatype":"BYTES","data":["ada","False"]},{"name":"mean","shape":[1],"datatype":"FP64","data":[2.5]}]}`
	if got := caller.Want(200, "POST", "/v2/models/"+made.ID+"/infer", []byte(call+"}"), nil); strings.TrimSpace(string(got)) != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	one := caller.Want(200, "POST", "/v2/models/"+made.ID+"/versions/1/infer", []byte(call+`,"outputs":[{"name":"n"}]}`), nil)
	if !strings.Contains(string(one), `"outputs":[{"name":"n","shape":[1],"datatype":"INT64","data":[2]}]`) {
		t.Errorf("one output: %s", one)
	}
	for _, c := range []struct {
		status     int
		path, body string
		want       string
	}{
		{400, "/infer", strings.Replace(call, "[2,2]", "[2,3]", 1) + "}", "fewer than its shape"},
		{400, "/infer", strings.Replace(call, `"FP32"`, `"BOOL"`, 1) + "}", "is not a BOOL"},
		{400, "/infer", `{"inputs":[]}`, "missing"},
		{400, "/infer", `{"inputs":`, "not a request"},
		{400, "/infer", call + `,"outputs":[{"name":"none"}]}`, "no such output"},
		{422, "/infer", strings.Replace(call, `"shape":[2,2],"datatype":"FP32","data":[1,2,3,4]`, `"shape":[0],"datatype":"FP32","data":[]`, 1) + "}", "ZeroDivisionError"},
		{404, "/versions/7/infer", call + "}", "no revision 7"},
	} {
		var e struct{ Error string }
		got := caller.Want(c.status, "POST", "/v2/models/"+made.ID+c.path, []byte(c.body), nil)
		if json.Unmarshal(got, &e) != nil || !strings.Contains(e.Error, c.want) {
			t.Errorf("%s: %s", c.body, got)
		}
	}
	h.Want(200, "POST", "/api/v1/projects/"+p+"/nodes/"+made.ID+"/pause", nil, nil)
	caller.Want(400, "GET", "/v2/models/"+made.ID+"/ready", nil, nil)
}

// fromAfar runs the program as a person on another machine does.
func (h *hub) fromAfar(t *testing.T, env []string, args ...string) (out, trouble string, ok bool) {
	t.Helper()
	cmd := exec.Command(binary(), args...)
	cmd.Env = append(os.Environ(), append([]string{"CELLAR_SERVER=" + h.Base, "XDG_CONFIG_HOME=" + t.TempDir()}, env...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), stderr.String(), err == nil
}

// TestCommandLine publishes, calls, changes and removes by the program alone.
func TestCommandLine(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Line")
	putNotebook(t, h, p, "times.ipynb", map[string]string{"cell": multiplier(3)})
	h.Open(p, h.session(p, "times.ipynb")).Exec("x = 1\ny = 1")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(h.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"CELLAR_TOKEN_FILE=" + token, "CELLAR_PROJECT=" + p}
	good := func(args ...string) string {
		t.Helper()
		out, trouble, ok := h.fromAfar(t, env, args...)
		if !ok {
			t.Fatalf("%v: %s %s", args, out, trouble)
		}
		return out
	}
	bad := func(want string, args ...string) {
		t.Helper()
		out, trouble, ok := h.fromAfar(t, env, args...)
		if ok || !strings.Contains(trouble, want) || strings.Contains(trouble, h.Token) {
			t.Errorf("%v: %v %s %s, want %s", args, ok, out, trouble, want)
		}
	}
	find := func(text, pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in %s", pattern, text)
		}
		return m[1]
	}
	out := good("node", "publish", "times.ipynb", "--cell", "1")
	id, key := find(out, `node +(\S+),`), find(out, `key +(\S+)`)
	call := func(want string, args ...string) {
		t.Helper()
		out, trouble, ok := h.fromAfar(t, []string{"CELLAR_KEY=" + key}, append([]string{"node", "call"}, args...)...)
		if got := strings.ReplaceAll(strings.TrimSpace(out), " ", ""); !ok || got != want {
			t.Errorf("%v: %s %s", args, out, trouble)
		}
	}
	call(`{"y":30}`, id, `{"x":10}`)
	out = good("node", "publish", "times.ipynb", "--cell", "cell", "--note", "the same again")
	if strings.Contains(out, "key ") || !strings.Contains(out, "Revision 2") {
		t.Errorf("published again: %s", out)
	}
	if out := good("node", "revisions", "times"); !regexp.MustCompile(`(?m)^\* +2 .*the same again$`).MatchString(out) {
		t.Errorf("revisions:\n%s", out)
	}
	good("node", "rollback", "times")
	var list struct {
		Items []struct {
			Name     string
			Revision int
		}
	}
	if err := json.Unmarshal([]byte(good("node", "list", "--json")), &list); err != nil || len(list.Items) != 1 || list.Items[0].Revision != 1 {
		t.Errorf("%v %+v", err, list)
	}
	out = good("alias", "set", "best", "times@1=90", "times@2=10", "--error-percent", "5", "--min-calls", "7", "--reason", "to try it")
	alias, aliasKey := find(out, `address +\S+/aliases/(\S+)/execute`), find(out, `key +(\S+)`)
	key, aliasKey = aliasKey, key
	call(`{"y":30}`, "--alias", alias, `{"x":10}`)
	call(`{"y":30}`, "--alias", alias, "--target", "times@2", `{"x":10}`)
	key = aliasKey
	good("alias", "set", "best", "times=100")
	good("alias", "rollback", "best")
	if out := good("alias", "list"); !strings.Contains(out, "times@1=90 times@2=10") {
		t.Errorf("aliases:\n%s", out)
	}
	if out := good("alias", "history", "best"); strings.Count(out, "times@1=90") != 2 || !strings.Contains(out, "to try it") {
		t.Errorf("history:\n%s", out)
	}
	bad("leads to the node", "node", "delete", "times")
	bad("add up to 90", "alias", "set", "best", "times=90")
	bad("not the number of a revision", "alias", "set", "best", "times@x=100")
	bad("no node", "node", "rollback", "none")
	bad("no cell", "node", "publish", "times.ipynb", "--cell", "none")
	good("alias", "delete", "best")
	out = good("key", "add", "shop", "times", "--rate", "100", "--quota", "1")
	keyID := find(out, `ID +(\S+)`)
	key = find(out, `key +(\S+)`)
	call(`{"y":30}`, id+"@1", `{"x":10}`)
	if _, trouble, ok := h.fromAfar(t, []string{"CELLAR_KEY=" + key}, "node", "call", id, `{"x":10}`); ok || !strings.Contains(trouble, "used up") {
		t.Errorf("over the quota: %s", trouble)
	}
	good("key", "rotate", keyID)
	if out := good("key", "list"); !strings.Contains(out, "shop") || !strings.Contains(out, "first") {
		t.Errorf("keys:\n%s", out)
	}
	good("key", "revoke", keyID)
	good("node", "pause", "times")
	good("node", "resume", "times")
	good("node", "delete", "times@2")
	good("node", "delete", id)
	os.Chmod(token, 0o644)
	bad("chmod 600", "node", "list")
	env = []string{"CELLAR_PROJECT=" + p}
	bad("no token", "node", "list")
	env = []string{"CELLAR_TOKEN=wrong", "CELLAR_PROJECT=" + p}
	bad("Sign in first. (not_signed_in)", "node", "list")
}
