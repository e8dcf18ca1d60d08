package acceptance

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/vishvananda/netlink"

	"cellar/internal/testkit"
)

// TestBadLuck: what goes wrong inside one kernel or one file is told in a
// sentence and harms nothing else.
func TestBadLuck(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Luck")
	run := func(name string, fn func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			h.T, h.t = t, t
			fn(t)
		})
	}
	run("killed for memory", func(t *testing.T) {
		s := h.Open(p, k)
		s.Exec("1")
		s.Send("x = bytearray(3 << 30)", "")
		soon(t, func() bool { return h.died(p, k) != nil })
		if d := h.died(p, k); !strings.Contains(d.Reason, "2048 MiB of memory") {
			t.Errorf("told: %s", d.Reason)
		}
		h.await(p, k, "running")
		if v := h.kernel(p, k); !strings.Contains(v.StateDetail, "Started again at") || !strings.Contains(v.StateDetail, "memory") {
			t.Errorf("told of what runs now: %s", v.StateDetail)
		}
		if got := h.Open(p, k).Exec("1+1"); got != "2" {
			t.Errorf("started again: %s", got)
		}
	})
	run("kernel that ends itself", func(t *testing.T) {
		s := h.Open(p, k)
		s.Send("import os; os._exit(3)", "")
		soon(t, func() bool { return h.died(p, k) != nil })
		if d := h.died(p, k); !strings.Contains(d.Reason, "status 3") {
			t.Errorf("told: %s", d.Reason)
		}
	})
	run("interrupt", func(t *testing.T) {
		s := h.Open(p, k)
		s.Exec("import time")
		id := s.Send("time.sleep(60)", "")
		time.Sleep(300 * time.Millisecond)
		h.Want(204, "POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil)
		if got := s.Wait(id); !strings.Contains(got, "KeyboardInterrupt") {
			t.Errorf("interrupted: %s", got)
		}
	})
	run("a damaged checkpoint", func(t *testing.T) {
		s := h.Open(p, k)
		s.Exec("y = 5")
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
		dump := filepath.Join(h.data, "vault", h.kernel(p, k).Checkpoint, "dump")
		pages, _ := filepath.Glob(filepath.Join(dump, "core-*.img"))
		whole, err := os.ReadFile(pages[0])
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(pages[0], whole[:len(whole)/2], 0o644)
		o := h.Run(h.path(p, k, "resume"), nil)
		if o.Error == nil {
			t.Error("a damaged checkpoint was resumed")
		}
		if v := h.kernel(p, k); v.State != "hibernated" {
			t.Errorf("state %s", v.State)
		}
		os.WriteFile(pages[0], whole, 0o644)
		if got := h.Open(p, k).Exec("y"); got != "5" {
			t.Errorf("y = %s", got)
		}
	})
	run("100 MB of output", func(t *testing.T) {
		putNotebook(t, h, p, "big.ipynb", map[string]string{"a": "print"})
		k := h.session(p, "big.ipynb")
		s := h.Open(p, k)
		s.Send("line = 'x' * 99\nfor _ in range(1_000_000): print(line)\nprint('end')", "a")
		s.Close()
		file := filepath.Join(h.data, "projects", p, "files", "big.ipynb")
		for deadline := time.Now().Add(120 * time.Second); ; time.Sleep(200 * time.Millisecond) {
			// The hub writes what there is every ten seconds: a large file may not be all.
			if st, err := os.Stat(file); err == nil && st.Size() > 100_000_000 {
				if text, _ := h.notebookOnDisk(p, "big.ipynb", "a"); strings.HasSuffix(text, "end\n") {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatal("the output does not reach the file")
			}
		}
		text, _ := h.notebookOnDisk(p, "big.ipynb", "a")
		if len(text) != 100_000_004 || !strings.HasSuffix(text, "xx\nend\n") {
			t.Errorf("%d bytes reached the file", len(text))
		}
		h.Want(204, "DELETE", "/api/v1/projects/"+p+"/kernels/"+k, nil, nil)
	})
	run("files", func(t *testing.T) {
		base := "/projects/" + p + "/api/contents/"
		dir := filepath.Join(h.data, "projects", p, "files")
		os.WriteFile(filepath.Join(dir, "broken.ipynb"), []byte("{not json"), 0o644)
		os.Symlink("/etc", filepath.Join(dir, "out"))
		if b := h.Want(400, "GET", base+"broken.ipynb?content=1", nil, nil); !bytes.Contains(b, []byte("message")) {
			t.Errorf("not told: %s", b)
		}
		for _, path := range []string{"out/passwd", "..%2f..%2f..%2fcellar.db", "%2e%2e/x", "out"} {
			if status, b := h.Do("GET", base+path, nil, nil); status != 404 && status != 400 {
				t.Errorf("%s: %d %.200s", path, status, b)
			}
		}
		if status, _ := h.Do("PUT", base+"out/evil", map[string]any{"type": "file", "format": "text", "content": "x"}, nil); status < 400 || status >= 500 {
			t.Errorf("written through a link: %d", status)
		}
	})
	run("SIGTERM in the middle of a move", func(t *testing.T) {
		s := h.Open(p, k)
		s.Exec("n = 0; x = 41\nimport os; pid = os.getpid()")
		s.Close()
		var o testkit.Operation
		h.Want(202, "POST", h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, &o)
		h.kill(syscall.SIGTERM)
		h.start()
		if problem := oneCopy(t, h, p, k); problem != "" {
			t.Error(problem)
		}
	})
	run("terminals", func(t *testing.T) {
		var m struct{ Name string }
		h.Want(200, "POST", "/projects/"+p+"/api/terminals", nil, &m)
		ws := h.terminal(p, m.Name)
		ws.WriteJSON([]any{"stdin", "cd /project; ls tour.ipynb; echo $((6*7)); tty\r"})
		await(t, ws, regexp.MustCompile(`(?s)tour\.ipynb.*42.*/dev/pts/0`))
		ws.Close()
		h.kill(syscall.SIGKILL)
		h.start()
		ws = h.terminal(p, m.Name)
		await(t, ws, regexp.MustCompile(`(?s)tour\.ipynb.*42`)) // the scrollback, after a restart of the hub
		ws.Close()
		h.Want(204, "DELETE", "/projects/"+p+"/api/terminals/"+m.Name, nil, nil)
		h.Want(404, "GET", "/projects/"+p+"/api/terminals/"+m.Name, nil, nil)
		u := strings.Replace(h.Base, "http", "ws", 1) + "/projects/" + p + "/terminals/websocket/" + m.Name + "?token=" + h.Token
		if ws, res, err := websocket.DefaultDialer.Dial(u, nil); err == nil || res == nil || res.StatusCode != 404 {
			t.Errorf("a websocket to a terminal that is gone: %v %v", ws, res) // it must not make one
		}
	})
}

func (h *hub) terminal(project, name string) *websocket.Conn {
	h.t.Helper()
	u := strings.Replace(h.Base, "http", "ws", 1) + "/projects/" + project + "/terminals/websocket/" + name + "?token=" + h.Token
	ws, res, err := websocket.DefaultDialer.Dial(u, nil)
	if err != nil {
		h.t.Fatalf("%v %v", err, res)
	}
	h.t.Cleanup(func() { ws.Close() })
	return ws
}

func await(t *testing.T, ws *websocket.Conn, want *regexp.Regexp) {
	t.Helper()
	var seen strings.Builder
	for {
		ws.SetReadDeadline(time.Now().Add(20 * time.Second))
		var m []any
		if err := ws.ReadJSON(&m); err != nil {
			t.Fatalf("%v after %q", err, seen.String())
		}
		if len(m) > 1 && m[0] == "stdout" {
			seen.WriteString(m[1].(string))
		}
		if want.MatchString(seen.String()) {
			return
		}
	}
}

// TestStrangers: who may do what, by cookie and by token.
func TestStrangers(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Mine")
	out, err := exec.Command(binary(), "user", "add", "bob", "--data", h.data).Output()
	if err != nil {
		t.Fatal(err)
	}
	bob := &testkit.Client{T: t, Base: h.Base, Token: h.token("--user", "bob")}
	nobody := &testkit.Client{T: t, Base: h.Base}
	for _, path := range []string{
		"/projects/%s/api/contents/", "/projects/%s/api/kernels", "/projects/%s/api/sessions", "/projects/%s/api/terminals", "/projects/%s/lab", "/projects/%s/files/tour.ipynb", "/projects/%s/proxy/8000/", "/projects/%s/proxy/absolute/8000/",
		"/projects/%s/api/kernels/" + k + "/channels", "/api/v1/projects/%s", "/api/v1/projects/%s/kernels", "/api/v1/projects/%s/checkpoints", "/api/v1/projects/%s/nodes", "/api/v1/projects/%s/runs?path=x",
	} {
		s1, b1 := bob.Do("GET", fmt.Sprintf(path, p), nil, nil)
		s2, b2 := bob.Do("GET", fmt.Sprintf(path, "nope"), nil, nil)
		if s1 != 404 || s1 != s2 || !bytes.Equal(b1, b2) {
			t.Errorf("%s: %d %s; an invented name: %d %s", path, s1, b1, s2, b2)
		}
		if s, b := nobody.Do("GET", fmt.Sprintf(path, p), nil, nil); s != 401 {
			t.Errorf("%s without a sign-in: %d %s", path, s, b)
		}
	}
	bob.Want(403, "GET", "/api/v1/users", nil, nil)
	bob.Want(404, "DELETE", "/api/v1/projects/"+p, nil, nil)
	bob.Token = "wrong"
	bob.Want(401, "GET", "/api/v1/me", nil, nil)

	// A browser: cookie, XSRF, Origin.
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	send := func(method, path, origin, xsrf, body string) int {
		req, _ := http.NewRequest(method, h.Base+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if strings.HasPrefix(body, "{") {
			req.Header.Set("Content-Type", "application/json")
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		if xsrf != "" {
			req.Header.Set("X-XSRFToken", xsrf)
		}
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	send("GET", "/signin", "", "", "")
	u, _ := url.Parse(h.Base + "/")
	secret := func() string {
		for _, c := range jar.Cookies(u) {
			if c.Name == "_xsrf" {
				return c.Value
			}
		}
		return ""
	}
	form := url.Values{"name": {"bob"}, "password": {strings.TrimSpace(string(out))}, "_xsrf": {secret()}, "next": {"//evil.example/"}}
	if got := send("POST", "/signin", "http://evil.example", "", form.Encode()); got != 403 {
		t.Errorf("sign-in from a foreign page: %d", got)
	}
	if got := send("POST", "/signin", h.Base, "", form.Encode()); got != 303 {
		t.Fatalf("sign-in: %d", got)
	}
	if got := send("POST", "/api/v1/projects", "", "", `{"name":"X"}`); got != 403 {
		t.Errorf("a write without the XSRF header: %d", got)
	}
	if got := send("POST", "/api/v1/projects", "http://evil.example", secret(), `{"name":"X"}`); got != 403 {
		t.Errorf("a write from a foreign page: %d", got)
	}
	if got := send("POST", "/api/v1/projects", h.Base, secret(), `{"name":"X"}`); got != 201 {
		t.Errorf("a write of our own page: %d", got)
	}
	d := websocket.Dialer{Jar: jar}
	for origin, want := range map[string]int{"http://evil.example": 403, h.Base: 101} {
		_, res, _ := d.Dial(strings.Replace(h.Base, "http", "ws", 1)+"/projects/x/api/events/subscribe", http.Header{"Origin": {origin}})
		if res == nil || res.StatusCode != want {
			t.Errorf("websocket from %s: %v", origin, res)
		}
	}
	for range 3 {
		form.Set("password", "wrong wrong")
		form.Set("_xsrf", secret())
		if got := send("POST", "/signin", h.Base, "", form.Encode()); got != 403 {
			t.Errorf("wrong password: %d", got)
		}
	}
}

// TestNetwork: kernels reach out, masqueraded, and reach neither this machine's
// ports nor each other.
func TestNetwork(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Net")
	s := h.Open(p, k)
	outside(t, "c.sendall(a[0].encode())")
	s.Exec("import socket\ndef reach(host, port):\n  try:\n    c = socket.create_connection((host, port), 3); return c.recv(100).decode()\n  except OSError as e: return 'no'")
	if got := s.Exec("reach('198.51.100.2', 7000)"); got != "'198.51.100.1'" {
		t.Errorf("the way out: %s", got)
	}
	ln, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("reached"))
			c.Close()
		}
	}()
	port := ln.Addr().(*net.TCPAddr).Port
	gateway := strings.TrimSpace(s.Exec("__import__('builtins').print('.'.join(open('/proc/net/fib_trie').read() and [l.split()[1] for l in open('/proc/net/fib_trie') if '|--' in l and l.split()[1].startswith('10.') and not l.split()[1].endswith('.0')][:1][0].split('.')[:2]) + '.0.1')"))
	for _, host := range []string{gateway, "198.51.100.1"} {
		if got := s.Exec(fmt.Sprintf("reach(%q, %d)", host, port)); got != "'no'" {
			t.Errorf("a port of this machine at %s: %s", host, got)
		}
	}
	putNotebook(t, h, p, "two.ipynb", map[string]string{"a": "1"})
	two := h.Open(p, h.session(p, "two.ipynb"))
	address := strings.Trim(two.Exec("import socket; _s = socket.create_server(('0.0.0.0', 7001)); _c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); _c.connect(('198.51.100.2', 9)); _c.getsockname()[0]"), "'")
	if got := s.Exec(fmt.Sprintf("reach(%q, 7001)", address)); got != "'no'" {
		t.Errorf("another kernel at %s: %s", address, got)
	}
	if got := two.Exec("__import__('socket').create_connection((_c.getsockname()[0], 7001), 3) is not None"); got != "True" {
		t.Errorf("the check itself is wrong: %s", got)
	}
	// After a move the way out is there again.
	h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.1", "move": true}, nil)
	if got := s.Exec("reach('198.51.100.2', 7000)"); got != "'198.51.100.1'" {
		t.Errorf("the way out after a move: %s", got)
	}
	for _, link := range portsOf(t, strings.TrimSuffix(gateway, ".1")) {
		if list, err := netlink.AddrList(link, netlink.FAMILY_V6); err != nil || len(list) > 0 {
			t.Errorf("%s: %v %v: a browser on this machine closes its connections whenever such an address comes", link.Attrs().Name, list, err)
		}
	}
}

// portsOf is the bridge with an address of that prefix, and the kernels' ends at it.
func portsOf(t *testing.T, prefix string) (list []netlink.Link) {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	bridge := slices.IndexFunc(links, func(l netlink.Link) bool {
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V4)
		return err == nil && len(addrs) == 1 && strings.HasPrefix(addrs[0].IP.String(), prefix) && l.Type() == "bridge"
	})
	if bridge < 0 {
		t.Fatalf("no bridge of %s among %d links", prefix, len(links))
	}
	for _, l := range links {
		if l.Attrs().MasterIndex == links[bridge].Attrs().Index {
			list = append(list, l)
		}
	}
	if len(list) != 2 {
		t.Fatalf("%d ports, of two kernels", len(list))
	}
	return append(list, links[bridge])
}

// TestWrongImage: a hub whose image is none says so and does not start.
func TestWrongImage(t *testing.T) {
	testkit.Containers(t)
	data, err := os.MkdirTemp(workDir(t), "data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command(binary(), "down", "--data", data, "--kill").Run()
		os.RemoveAll(data)
	})
	archive := filepath.Join(t.TempDir(), "image.tar")
	for name, content := range map[string]string{"not a tar": "hello", "none": ""} {
		if content != "" {
			os.WriteFile(archive, []byte(content), 0o644)
		} else {
			os.Remove(archive)
		}
		cmd := exec.Command(binary(), "serve", "--data", data, "--listen", "127.0.0.1:0", "--image", archive)
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("image")) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

// TestDownLeavesNothing: no process, mount, control group, namespace, interface.
func TestDownLeavesNothing(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Down")
	h.Open(p, k).Exec("x = 41")
	h.Want(200, "POST", "/projects/"+p+"/api/terminals", nil, nil)
	out, err := exec.Command(binary(), "down", "--data", h.data).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.cmd.Wait()
	h.cmd = nil
	group := groupOf(h.data)
	look := fmt.Sprintf("grep -l %[1]s /proc/[0-9]*/cgroup; grep %[2]s /proc/mounts; find /sys/fs/cgroup -maxdepth 2 -name %[1]s; ip -br link | grep %[1]s; nft list tables | grep %[1]s; pgrep -fa '[c]ontainerd.*%[2]s'; ls -d %[3]s /dev/shm/%[1]s", group, filepath.Base(h.data), stateOf(h.data))
	left, _ := exec.Command("sh", "-c", look+" 2>/dev/null").Output()
	if len(left) > 0 {
		t.Errorf("left over:\n%s", left)
	}
	h.start()
	if got := h.Open(p, k).Exec("x"); got != "41" {
		t.Errorf("x = %s", got)
	}
}
