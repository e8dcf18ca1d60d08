package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellar/internal/testkit"
)

// echoServer is a websocket server of the standard library alone: it sends back
// what it gets, in frames of up to 125 bytes.
const echoServer = `import socket, hashlib, base64, threading
def serve(c):
    f = c.makefile('rb')
    key = ''
    while (line := f.readline().strip()):
        if line.lower().startswith(b'sec-websocket-key:'):
            key = line.split(b':', 1)[1].strip()
    accept = base64.b64encode(hashlib.sha1(key + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest())
    c.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ' + accept + b'\r\n\r\n')
    while (head := f.read(2)):
        mask = f.read(4)
        text = bytes(b ^ mask[i % 4] for i, b in enumerate(f.read(head[1] & 127)))
        c.sendall(bytes([head[0], len(text)]) + text)
def listen():
    s = socket.create_server(('127.0.0.1', 9100))
    while True:
        threading.Thread(target=serve, args=s.accept()[:1], daemon=True).start()
import threading
threading.Thread(target=listen, daemon=True).start()
print('listens')`

// TestApps: applications that run in a kernel and in a terminal, for a program
// and for a browser.
func TestApps(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Apps")
	s := h.Open(p, k)
	// A cell's process, and a thread of the kernel itself.
	s.Exec(`import subprocess, time, urllib.request, pathlib
pathlib.Path('site').mkdir(exist_ok=True)
pathlib.Path('site/who').write_text('a kernel')
server = subprocess.Popen(['python3', '-m', 'http.server', '9000', '--bind', '127.0.0.1', '--directory', 'site'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while True:
    try:
        urllib.request.urlopen('http://127.0.0.1:9000/').close(); break
    except OSError:
        if server.poll() is not None: raise
        time.sleep(.05)`)
	if got := s.Exec(echoServer); !strings.Contains(got, "listens") {
		t.Fatal(got)
	}
	var term struct{ Name string }
	h.Want(200, "POST", "/projects/"+p+"/api/terminals", nil, &term)
	ws := h.terminal(p, term.Name)
	ws.WriteJSON([]any{"stdin", "mkdir -p /tmp/t && echo a ter''minal > /tmp/t/who && cd /tmp/t && (python3 -m http.server 9200 --bind 127.0.0.1 >/dev/null 2>&1 &) ; until curl -sf http://127.0.0.1:9200/who; do sleep 0.1; done\r"})
	await(t, ws, regexp.MustCompile(`a terminal`))

	at := "/projects/" + p + "/proxy/"
	if out, err := exec.Command(binary(), "user", "add", "bob", "--data", h.data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	bob := &testkit.Client{T: t, Base: h.Base, Token: h.token("--user", "bob")}
	nobody := &testkit.Client{T: t, Base: h.Base}

	t.Run("a program", func(t *testing.T) {
		for path, want := range map[string]string{"9000/who": "a kernel", "9200/who": "a terminal\n"} {
			if b := h.Want(200, "GET", at+path, nil, nil); string(b) != want {
				t.Errorf("%s: %q", path, b)
			}
		}
		if b := h.Want(200, "GET", at+"9000/", nil, nil); !bytes.Contains(b, []byte(`href="who"`)) {
			t.Errorf("the listing: %s", b)
		}
		h.Want(404, "GET", at+"absolute/9000/who", nil, nil) // the path is not cut, so the file is not there
		h.Want(501, "POST", at+"9000/who", map[string]int{"x": 1}, nil)
		if b := h.Want(502, "GET", at+"9001/", nil, nil); !bytes.Contains(b, []byte("Nothing listens on port 9001 in this project.")) {
			t.Errorf("a port of nobody: %s", b)
		}
		for _, port := range []string{"7397", "7398", "7399", "0", "70000"} {
			h.Want(400, "GET", at+port+"/", nil, nil)
		}
		bob.Want(404, "GET", at+"9000/who", nil, nil)
		nobody.Want(401, "GET", at+"9000/who", nil, nil)
		echo(t, strings.Replace(h.Base, "http", "ws", 1)+at+"9100/", http.Header{"Authorization": {"Bearer " + h.Token}}, nil)
	})

	t.Run("a browser", func(t *testing.T) {
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar}
		page := func(address string) (*http.Response, string) {
			t.Helper()
			req, _ := http.NewRequest("GET", address, nil)
			req.Header.Set("Accept", "text/html")
			res, err := browser.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			return res, string(b)
		}
		// A link with a token: hub, hub without it, applications with a ticket, applications.
		res, b := page(h.Base + at + "9000/who?token=" + h.Token)
		own := res.Request.URL
		if res.StatusCode != 200 || b != "a kernel" || own.Hostname() != "localhost" || own.RequestURI() != at+"9000/who" {
			t.Fatalf("%d %s at %s", res.StatusCode, b, own)
		}
		if res, b := page(h.Base + at + "9200/who"); res.StatusCode != 200 || b != "a terminal\n" || res.Request.URL.Host != own.Host {
			t.Errorf("%d %s at %s", res.StatusCode, b, res.Request.URL)
		}
		if res, b := page("http://" + own.Host + at + "9001/"); res.StatusCode != 502 || !strings.Contains(b, "Nothing listens on port 9001") {
			t.Errorf("a port of nobody: %d %s", res.StatusCode, b)
		}
		if res, b := page("http://" + own.Host + "/api/v1/me"); res.StatusCode != 404 {
			t.Errorf("the hub's API there: %d %s", res.StatusCode, b)
		}
		cookies := http.Header{}
		for _, c := range jar.Cookies(&url.URL{Scheme: "http", Host: own.Host, Path: at}) {
			cookies.Add("Cookie", c.String())
		}
		echo(t, "ws://"+own.Host+at+"9100/", cookies, nil)
		cookies.Set("Origin", "http://"+own.Host)
		echo(t, "ws://"+own.Host+at+"9100/", cookies, nil)
		for _, origin := range []string{h.Base, "http://evil.example"} {
			cookies.Set("Origin", origin)
			if _, res, err := websocket.DefaultDialer.Dial("ws://"+own.Host+at+"9100/", cookies); err == nil || res == nil || res.StatusCode != 403 {
				t.Errorf("a websocket of a page at %s: %v", origin, err)
			}
		}
		// A stranger who is signed in, on the hub and on the origin of applications.
		jar, _ = cookiejar.New(nil)
		browser.Jar = jar
		page(h.Base + "/?token=" + bob.Token)
		if res, b := page(h.Base + at + "9000/who"); res.StatusCode != 404 {
			t.Errorf("a stranger: %d %s", res.StatusCode, b)
		}
		if res, b := page("http://" + own.Host + at + "9000/who"); res.StatusCode != 404 {
			t.Errorf("a stranger on the other origin: %d %s", res.StatusCode, b)
		}
		if res, _ := page("http://" + own.Host + at + "9000/who"); res.Request.URL.Host != h.addr {
			t.Errorf("a stranger is at %s", res.Request.URL)
		}
	})

	t.Run("a restart of the hub", func(t *testing.T) {
		jar, _ := cookiejar.New(nil)
		browser := &http.Client{Jar: jar}
		get := func(address string) string {
			t.Helper()
			res, err := browser.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			return fmt.Sprint(res.StatusCode, " ", string(b))
		}
		req, _ := http.NewRequest("GET", h.Base+at+"9000/who?token="+h.Token, nil)
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		there := "http://" + res.Request.URL.Host + at + "9000/who"
		h.kill(syscall.SIGTERM)
		h.start()
		if got := get(there); got != "200 a kernel" {
			t.Errorf("the same address and cookie after it: %s", got)
		}
	})

	t.Run("hibernation", func(t *testing.T) {
		var line *websocket.Conn
		echo(t, strings.Replace(h.Base, "http", "ws", 1)+at+"9100/", http.Header{"Authorization": {"Bearer " + h.Token}}, &line)
		defer line.Close()
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
		line.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, _, err := line.ReadMessage(); err == nil || strings.Contains(err.Error(), "timeout") {
			t.Errorf("the page of an application that sleeps is not told: %v", err)
		}
		h.Want(502, "GET", at+"9000/who", nil, nil)
		if v := h.kernel(p, k); v.State != "hibernated" {
			t.Errorf("the kernel is %s", v.State)
		}
		h.Want(200, "GET", at+"9200/who", nil, nil) // a terminal's is awake
		h.MustRun(h.path(p, k, "resume"), nil, nil)
		if b := h.Want(200, "GET", at+"9000/who", nil, nil); string(b) != "a kernel" {
			t.Errorf("after it: %s", b)
		}
		echo(t, strings.Replace(h.Base, "http", "ws", 1)+at+"9100/", http.Header{"Authorization": {"Bearer " + h.Token}}, nil)
	})
}

// echo opens a websocket and sees that what it sends comes back; with keep it
// stays open.
func echo(t *testing.T, address string, header http.Header, keep **websocket.Conn) {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.Dial(address, header)
	if err != nil {
		t.Fatalf("%v %v", err, res)
	}
	if keep != nil {
		*keep = ws
	} else {
		defer ws.Close()
	}
	for i := range 3 {
		text := fmt.Sprint("message ", i)
		ws.WriteMessage(websocket.TextMessage, []byte(text))
		ws.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, b, err := ws.ReadMessage(); err != nil || string(b) != text {
			t.Fatalf("%q came back: %v", b, err)
		}
	}
}
