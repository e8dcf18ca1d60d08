package acceptance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// receiver keeps what a webhook posts to it.
type receiver struct {
	*httptest.Server
	t      testing.TB
	secret string

	mu     sync.Mutex
	refuse int // so many answers are 503
	got    []posted
	ids    []string // of all requests, refused ones too
}

type posted struct {
	Type    string
	ID      string
	Project struct{ ID, Name string }
	Run     struct {
		Notebook, Cell, Kernel, State, Error string
		MS                                   int64 `json:"duration_ms"`
		Peak                                 int64 `json:"peak_memory_bytes"`
		Lines                                int
	}
}

func newReceiver(t testing.TB, secret string) *receiver {
	r := &receiver{t: t, secret: secret}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	mac := hmac.New(sha256.New, []byte(r.secret))
	io.WriteString(mac, q.Header.Get("webhook-id")+"."+q.Header.Get("webhook-timestamp")+"."+string(body))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); q.Header.Get("webhook-signature") != want {
		r.t.Errorf("signature %q, want %q", q.Header.Get("webhook-signature"), want)
	}
	var p posted
	if err := json.Unmarshal(body, &p); err != nil || p.ID != q.Header.Get("webhook-id") {
		r.t.Errorf("%v: %s", err, body)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, p.ID)
	if r.refuse > 0 {
		r.refuse--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.got = append(r.got, p)
}

func (r *receiver) has() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]posted(nil), r.got...)
}

func (r *receiver) await(n int) []posted {
	r.t.Helper()
	eventually(r.t, "messages are there", func() bool { return len(r.has()) >= n })
	return r.has()
}

// TestWebhook: cells that end while nobody is there are told, signed, once; those
// that end under somebody's eyes are not.
func TestWebhook(t *testing.T) {
	const secret = "a secret of sixteen letters and more"
	r := newReceiver(t, secret)
	h := startHub(t, "--webhook-allow", "127.0.0.1/32")
	p, _ := h.project("Told")
	putNotebook(t, h, p, "w.ipynb", map[string]string{"seen": "", "good": "", "bad": "", "short": "", "while": "", "last": "", "dies": ""})
	k := h.session(p, "w.ipynb")
	hook := "/api/v1/projects/" + p + "/webhook"
	none := func(when string) {
		t.Helper()
		if b := string(h.Want(200, "GET", hook, nil, nil)); !strings.Contains(b, `"url":""`) || !strings.Contains(b, `"has_secret":false`) || !strings.Contains(b, `"last_delivery":null`) {
			t.Errorf("%s: %s", when, b)
		}
	}
	none("none is set")
	view := h.Want(200, "PUT", hook, map[string]any{"url": r.URL + "/hook", "secret": secret, "minimal_seconds": 1}, nil)
	if strings.Contains(string(view), secret) || !strings.Contains(string(view), `"has_secret":true`) {
		t.Errorf("%s", view)
	}
	var test struct {
		Delivered bool
		Status    int
	}
	if h.Want(200, "POST", hook+"/test", nil, &test); !test.Delivered || test.Status != 200 {
		t.Errorf("test: %+v", test)
	}
	if got := r.await(1); got[0].Type != "test" || got[0].Project.ID != p {
		t.Errorf("%+v", got)
	}

	s := h.Open(p, k)
	s.Wait(s.Send("import time; time.sleep(1.2)", "seen"))
	s.Send("time.sleep(1.2); print('a'); print('b')", "good")
	s.Send("1", "short")
	s.Send("time.sleep(1.2); 1/0", "bad")
	r.mu.Lock()
	r.refuse = 1
	r.mu.Unlock()
	eventually(t, "the first cell runs", func() bool { return h.timings(p, "w.ipynb")["good"].State == "running" })
	s.Close()
	told := func(n int) map[string]posted { // by cell; retries change the order
		out := map[string]posted{}
		for _, v := range r.await(n) {
			out[v.Run.Cell] = v
		}
		return out
	}
	got := told(3)
	if v := got["good"]; v.Type != "run.ended" || v.Project.ID != p || v.Run.State != "done" || v.Run.Notebook != "w.ipynb" || v.Run.Kernel != k || v.Run.Lines != 2 || v.Run.MS < 1200 || v.Run.Peak < 1<<20 {
		t.Errorf("%+v", v)
	}
	if v := got["bad"]; v.Run.State != "error" || v.Run.Error != "ZeroDivisionError: division by zero" {
		t.Errorf("%+v", v)
	}

	// A run that ends while no hub is there is told when one is back; what was told is not told again.
	h.Want(200, "PUT", hook, map[string]any{"url": r.URL + "/hook", "minimal_seconds": 1}, nil) // the secret stays
	s = h.Open(p, k)
	s.Send("time.sleep(1.5)", "while")
	eventually(t, "the cell runs", func() bool { return h.timings(p, "w.ipynb")["while"].State == "running" })
	s.Close()
	h.kill(syscall.SIGKILL)
	time.Sleep(2 * time.Second) // the cell ends meanwhile, which nobody can be asked about
	h.start()
	if v := told(4)["while"]; v.Run.State != "done" {
		t.Errorf("%+v", v)
	}
	h.kill(syscall.SIGKILL)
	h.start()
	h.Want(200, "PUT", hook, map[string]any{"url": r.URL + "/hook", "minimal_seconds": 1, "when": "failure"}, nil)
	s = h.Open(p, k)
	s.Send("time.sleep(1.2)", "good")
	s.Send("time.sleep(1.2); undefined", "last")
	eventually(t, "the cell runs", func() bool { return h.timings(p, "w.ipynb")["good"].State == "running" })
	s.Close()
	if v := told(5)["last"]; v.Run.State != "error" {
		t.Errorf("%+v", v)
	}
	s = h.Open(p, k)
	s.Send("import os; time.sleep(1.2); os.kill(os.getpid(), 9)", "dies")
	eventually(t, "the cell runs", func() bool { return h.timings(p, "w.ipynb")["dies"].State == "running" })
	s.Close()
	if v := told(6)["dies"]; v.Run.State != "aborted" || !strings.Contains(v.Run.Error, "ended by a signal") {
		t.Errorf("%+v", v)
	}
	var now struct {
		When string
		Last struct {
			State    string
			Attempts int
		} `json:"last_delivery"`
	}
	eventually(t, "its delivery is on record", func() bool { h.Want(200, "GET", hook, nil, &now); return now.Last.State == "done" })
	if now.When != "failure" || now.Last.Attempts != 1 {
		t.Errorf("%+v", now)
	}
	once := map[string]int{}
	for _, v := range r.has() {
		once[v.ID]++
	}
	if len(once) != 6 || len(r.ids) != 7 {
		t.Errorf("messages %v, requests %v", once, r.ids)
	}
	h.Want(204, "DELETE", hook, nil, nil)
	none("it is removed")
	if log, _ := os.ReadFile(h.log.Name()); strings.Contains(string(log), secret) || strings.Contains(string(log), "/hook") {
		t.Error("the log names the secret or the address")
	}
}

// TestWebhookStaysOutside: without the operator's word nothing within the
// server's own network is reached, whatever it is called.
func TestWebhookStaysOutside(t *testing.T) {
	r := newReceiver(t, "")
	h := startHub(t)
	p, _ := h.project("Out")
	hook := "/api/v1/projects/" + p + "/webhook"
	for _, address := range []string{r.URL, "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::1]:80/", h.Base + "/api/v1/projects"} {
		if status, b := h.Do("PUT", hook, map[string]any{"url": address}, nil); status != 403 {
			t.Errorf("%s: %d %s", address, status, b)
		}
	}
	h.Want(200, "PUT", hook, map[string]any{"url": strings.Replace(r.URL, "127.0.0.1", "localhost", 1)}, nil)
	var test struct {
		Delivered bool
		Status    int
		Error     string
	}
	if h.Want(200, "POST", hook+"/test", nil, &test); test.Delivered || test.Status != 0 || !strings.Contains(test.Error, "--webhook-allow") {
		t.Errorf("%+v", test)
	}
	if len(r.has()) != 0 {
		t.Errorf("reached: %+v", r.has())
	}
	h.cli("user", "add", "bob")
	h.Token = h.token("--user", "bob")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if status, _ := h.Do(method, hook, map[string]any{"url": "https://example.com"}, nil); status != 404 {
			t.Errorf("a stranger's %s: %d", method, status)
		}
	}
}

// count is how many messages of a kind have come.
func (r *receiver) count(kind string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.got {
		if p.Type == kind {
			n++
		}
	}
	return n
}
