package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

var doorChecks = []*check{
	{name: "door.no-token", run: doorNoToken},
	{name: "door.wrong-token", run: doorWrongToken},
	{name: "door.token-in-query", run: doorQuery},
	{name: "door.bearer", run: doorBearer},
	{name: "door.cookie-login", run: doorCookie},
	{name: "door.xsrf", run: doorXSRF},
	{name: "door.foreign-origin", run: doorForeignOrigin},
	{name: "door.websocket-no-token", run: doorSocketNoToken},
	{name: "door.websocket-token-in-query", run: doorSocketQuery},
	{name: "door.websocket-foreign-origin-cookie", run: doorSocketForeign},
	{name: "door.websocket-foreign-origin-token", run: doorSocketForeignToken},
	{name: "lab.api-gzip", run: func(t *try) { t.gzipped("lab/api/settings") }},
	{name: "contents.gzip", run: func(t *try) {
		t.text("long.txt", strings.Repeat("0123456789\n", 2000))
		t.gzipped("api/contents/" + t.dir + "/long.txt")
	}},
	{name: "lab.static-gzip", run: labStatic},
	{name: "events.socket", run: eventsSocket},
	{name: "events.emit-unknown", run: func(t *try) {
		t.call(http.StatusBadRequest, "POST", "api/events", map[string]any{"schema_id": "https://no.such/schema", "version": "1", "data": map[string]any{}})
	}},
}

// fileChecks are those that no exchange can tell.
var fileChecks = []*check{
	{name: "contents.large-notebook", run: largeNotebook},
	{name: "files.large", run: largeFile},
}

func doorNoToken(t *try) {
	for _, path := range []string{"api/contents", "api/kernels", "api/sessions", "api/terminals", "api/kernelspecs", "files/a.txt", "api/me", "lab/api/settings"} {
		a := t.ask(request{method: "GET", path: path, noToken: true})
		if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden && a.status != http.StatusFound {
			t.failf("%s without a token is %d", a.asked, a.status)
		}
	}
	a := t.ask(request{method: "POST", path: "api/kernels", noToken: true, body: "{}"})
	if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		t.failf("%s without a token is %d", a.asked, a.status)
	}
}

func doorWrongToken(t *try) {
	a := t.ask(request{method: "GET", path: "api/contents", noToken: true, header: http.Header{"Authorization": {"token wrong"}}})
	if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
		t.failf("%s with a wrong token is %d", a.asked, a.status)
	}
}

func doorQuery(t *try) {
	a := t.ask(request{method: "GET", path: "api/contents?token=" + url.QueryEscape(t.token), noToken: true})
	t.want("the status", a.status, http.StatusOK)
}

func doorBearer(t *try) {
	a := t.ask(request{method: "GET", path: "api/contents", noToken: true, header: http.Header{"Authorization": {"Bearer " + t.token}}})
	t.want("the status", a.status, http.StatusOK)
}

// browser is a client with cookies, signed in by a link.
func (t *try) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	t.must(err)
	c := &http.Client{Jar: jar, CheckRedirect: plain.CheckRedirect}
	path := "lab?token=" + url.QueryEscape(t.token)
	for range 5 {
		a := t.ask(request{method: "GET", path: path, noToken: true, client: c})
		if a.status/100 != 3 {
			t.want("the lab's page, signed in by a link", a.status, http.StatusOK)
			return c
		}
		u, err := url.Parse(a.header.Get("Location"))
		t.must(err)
		path = u.RequestURI()
	}
	t.failf("the link to sign in leads in a circle")
	return nil
}

func (t *try) cookies(c *http.Client) (all string, xsrf string) {
	u, err := url.Parse(t.base)
	t.must(err)
	var list []string
	for _, one := range c.Jar.Cookies(u) {
		list = append(list, one.Name+"="+one.Value)
		if one.Name == "_xsrf" {
			xsrf = one.Value
		}
	}
	return strings.Join(list, "; "), xsrf
}

func doorCookie(t *try) {
	c := t.browser()
	a := t.ask(request{method: "GET", path: "api/contents", noToken: true, client: c})
	t.want("the status by cookie", a.status, http.StatusOK)
}

func doorXSRF(t *try) {
	c := t.browser()
	_, xsrf := t.cookies(c)
	if xsrf == "" {
		t.failf("there is no cookie _xsrf")
	}
	write := request{method: "POST", path: "api/contents/" + t.dir, noToken: true, client: c, body: `{"type":"notebook"}`, header: http.Header{}}
	t.want("a write by cookie alone", t.ask(write).status, http.StatusForbidden)
	write.header.Set("X-XSRFToken", "wrong")
	t.want("a write with a wrong secret", t.ask(write).status, http.StatusForbidden)
	write.header.Set("X-XSRFToken", xsrf)
	t.want("a write with the cookie's secret", t.ask(write).status, http.StatusCreated)
}

func doorForeignOrigin(t *try) {
	c := t.browser()
	_, xsrf := t.cookies(c)
	a := t.ask(request{method: "POST", path: "api/contents/" + t.dir, noToken: true, client: c, body: `{"type":"notebook"}`, header: http.Header{
		"X-Xsrftoken": {xsrf}, "Origin": {"http://elsewhere.example"},
	}})
	if a.status != http.StatusForbidden && a.status != http.StatusNotFound {
		t.failf("a write from a foreign page is %d", a.status)
	}
}

// refused wants a websocket's handshake to be answered by 401, 403 or 404.
func (t *try) refused(path string, header http.Header) {
	_, res, err := t.dial(path, nil, header)
	if err == nil {
		t.failf("the websocket was opened")
	}
	if res == nil || res.StatusCode != 401 && res.StatusCode != 403 && res.StatusCode != 404 {
		t.failf("the websocket was refused, but by %v", res)
	}
}

func doorSocketNoToken(t *try) { t.refused("api/kernels/"+t.sharedKernel()+"/channels", nil) }

func doorSocketQuery(t *try) {
	ws, res, err := t.dial("api/kernels/"+t.sharedKernel()+"/channels?session_id=q&token="+url.QueryEscape(t.token), nil, nil)
	if err != nil {
		t.failf("%v %v", err, res)
	}
	ws.Close()
}

func doorSocketForeign(t *try) {
	all, _ := t.cookies(t.browser())
	t.refused("api/kernels/"+t.sharedKernel()+"/channels", http.Header{"Cookie": {all}, "Origin": {"http://elsewhere.example"}})
}

func doorSocketForeignToken(t *try) {
	h := t.withToken()
	h.Set("Origin", "http://elsewhere.example")
	ws, res, err := t.dial("api/kernels/"+t.sharedKernel()+"/channels", nil, h)
	if err != nil {
		t.failf("a token should do from any origin: %v %v", err, res)
	}
	ws.Close()
}

func (t *try) gzipped(path string) {
	a := t.ask(request{method: "GET", path: path, header: http.Header{"Accept-Encoding": {"gzip"}}})
	t.want("the status", a.status, http.StatusOK)
	if got := a.header.Get("Content-Encoding"); got != "gzip" {
		t.failf("Content-Encoding is %q, want gzip", got)
	}
	z, err := gzip.NewReader(bytes.NewReader(a.body))
	t.must(err)
	whole, err := io.ReadAll(z)
	t.must(err)
	t.want("the text, unpacked,", json.Valid(whole), true)
}

// labStatic wants the lab's scripts to be compressed for a browser.
func labStatic(t *try) {
	page := string(t.get("lab").body)
	_, rest, found := strings.Cut(page, `src="`)
	src, _, _ := strings.Cut(rest, `"`)
	if !found {
		t.failf("the page has no script")
	}
	a := t.ask(request{method: "GET", path: src, header: http.Header{"Accept-Encoding": {"gzip, deflate, br"}}})
	t.want("the status of "+src, a.status, http.StatusOK)
	if got := a.header.Get("Content-Encoding"); got != "gzip" && got != "br" {
		t.failf("Content-Encoding of %s is %q", src, got)
	}
}

// eventsSocket: a save is told to who listens.
func eventsSocket(t *try) {
	ws, _, err := t.dial("api/events/subscribe", nil, t.withToken())
	t.must(err)
	t.text("a.txt", "x")
	for {
		ws.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, b, err := ws.ReadMessage()
		t.must(err)
		var m map[string]any
		t.must(json.Unmarshal(b, &m))
		if m["schema_id"] == "https://events.jupyter.org/jupyter_server/contents_service/v1" && m["action"] == "save" && m["path"] == t.dir+"/a.txt" {
			return
		}
	}
}

func largeNotebook(t *try) {
	var cells []any
	for i := range 200 {
		cells = append(cells, map[string]any{"cell_type": "code", "id": unique("c")[:20] + string(rune('a'+i%26)), "metadata": map[string]any{}, "execution_count": 1,
			"source": "x", "outputs": []any{map[string]any{"output_type": "stream", "name": "stdout", "text": strings.Repeat("0123456789\n", 5000)}}})
	}
	for i, c := range cells {
		c.(map[string]any)["id"] = "cell-" + string(rune('a'+i/26)) + string(rune('a'+i%26))
	}
	nb := map[string]any{"cells": cells, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": 5}
	t.call(http.StatusCreated, "PUT", "api/contents/"+t.dir+"/n.ipynb", map[string]any{"type": "notebook", "format": "json", "content": nb})
	got, _ := t.get("api/contents/" + t.dir + "/n.ipynb?content=1").value().(map[string]any)
	content, _ := got["content"].(map[string]any)
	back, _ := content["cells"].([]any)
	t.want("the number of cells", len(back), len(cells))
}

func largeFile(t *try) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<16) // 4 MiB
	const chunk = 1 << 20
	for i := 0; i*chunk < len(data); i++ {
		n := i + 1
		if (i+1)*chunk >= len(data) {
			n = -1
		}
		a := t.ask(request{method: "PUT", path: "api/contents/" + t.dir + "/a.txt", body: map[string]any{
			"type": "file", "format": "text", "content": string(data[i*chunk : min((i+1)*chunk, len(data))]), "chunk": n,
		}})
		if a.status != http.StatusOK && a.status != http.StatusCreated {
			t.failf("chunk %d is %d: %s", n, a.status, short(a.body))
		}
	}
	if a := t.get("files/" + t.dir + "/a.txt"); !bytes.Equal(a.body, data) {
		t.failf("%d bytes came back of %d", len(a.body), len(data))
	}
}
