package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// site is one server under test, known by its address and a token.
type site struct {
	name  string // jupyter_server or cellar
	base  string // http://127.0.0.1:PORT/ or .../projects/P/, with the slash
	token string
	// files is the folder of this machine in which the server keeps its files.
	files string
	// jsonOnly: it speaks the older framing alone.
	jsonOnly bool

	mu     sync.Mutex
	shared string // the kernel that checks share
}

// answer is what a request brought.
type answer struct {
	asked  string
	status int
	header http.Header
	body   []byte
}

// request is one HTTP request; body may be nil, bytes, a string, or something to be JSON.
type request struct {
	method, path string // the path relative to the base, escaped, with its query
	header       http.Header
	body         any
	noToken      bool
	client       *http.Client
}

func (t *try) ask(r request) *answer {
	var body io.Reader
	switch b := r.body.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(b)
	case string:
		body = strings.NewReader(b)
	case io.Reader:
		body = b
	default:
		text, err := json.Marshal(b)
		t.must(err)
		body = bytes.NewReader(text)
	}
	address, err := url.Parse(t.base)
	t.must(err)
	whole := t.base + r.path
	if strings.HasPrefix(r.path, "/") { // from the root of the server, not from the base
		whole = address.Scheme + "://" + address.Host + r.path
	}
	req, err := http.NewRequestWithContext(t.ctx, r.method, whole, body)
	t.must(err)
	for name, values := range r.header {
		req.Header[name] = values
	}
	if !r.noToken {
		req.Header.Set("Authorization", "token "+t.token)
	}
	client := r.client
	if client == nil {
		client = plain
	}
	res, err := client.Do(req)
	t.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	t.must(err)
	return &answer{r.method + " " + r.path, res.StatusCode, res.Header, b}
}

// plain follows no redirects and leaves compression alone: both are things to look at.
var plain = &http.Client{
	Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 32},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// get is a GET that must succeed.
func (t *try) get(path string) *answer { return t.call(http.StatusOK, "GET", path, nil) }

// call wants a status.
func (t *try) call(status int, method, path string, body any) *answer {
	a := t.ask(request{method: method, path: path, body: body})
	if a.status != status {
		t.failf("%s is %d, want %d: %s", a.asked, a.status, status, short(a.body))
	}
	return a
}

// value is the answer as JSON.
func (a *answer) value() any {
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		return nil
	}
	return v
}

// at is a member of the answer, "" where there is none: at("kernel", "id").
func (a *answer) at(path ...string) string {
	v := a.value()
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	if v == nil {
		return ""
	}
	if s, ok := v.(string); ok {
		return s
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// list is the answer's members of a field, where it is a list of objects.
func (a *answer) list() (out []map[string]any) {
	_ = json.Unmarshal(a.body, &out)
	return out
}

// folder is where a check keeps its files, by its name.
func folder(check string) string {
	return "d-" + strings.NewReplacer(".", "-", "/", "-").Replace(check)
}

// makeDir makes the check's folder through the API, as a client would.
func (t *try) makeDir(check string) {
	t.dir = folder(check)
	t.vars["DIR"] = t.dir
	t.call(http.StatusCreated, "PUT", "api/contents/"+t.dir, map[string]string{"type": "directory"})
}

// text saves a text file in the check's folder.
func (t *try) text(name, content string) {
	a := t.ask(request{method: "PUT", path: "api/contents/" + t.dir + "/" + url.PathEscape(name), body: map[string]string{"type": "file", "format": "text", "content": content}})
	if a.status != http.StatusCreated && a.status != http.StatusOK {
		t.failf("saving %s is %d: %s", name, a.status, short(a.body))
	}
}

func short(b []byte) string {
	s := strings.Join(strings.Fields(string(b)), " ")
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return fmt.Sprintf("%q", s)
}
