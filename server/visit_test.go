package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

func (v *visitor) doWith(ctx context.Context, method, path, kind string, body []byte, heard func()) *http.Response {
	v.t.Helper()
	u, err := url.Parse(path)
	if err != nil {
		v.t.Fatal(err)
	}
	r := v.request(method, u.RequestURI(), kind, body).WithContext(ctx)
	w := &firstWord{header: http.Header{}, heard: heard}
	v.handler.ServeHTTP(w, r)
	return &http.Response{StatusCode: max(w.status, 200), Header: w.header, Body: io.NopCloser(&w.body)}
}

// firstWord is a ResponseWriter whose client goes away once a stream has begun.
type firstWord struct {
	header http.Header
	status int
	body   bytes.Buffer
	heard  func()
}

func (f *firstWord) Header() http.Header { return f.header }
func (f *firstWord) WriteHeader(status int) {
	if f.status == 0 {
		f.status = status
	}
}
func (f *firstWord) Write(b []byte) (int, error)      { f.WriteHeader(200); return f.body.Write(b) }
func (f *firstWord) SetWriteDeadline(time.Time) error { return nil }
func (f *firstWord) Flush() {
	if strings.HasPrefix(f.header.Get("Content-Type"), "text/event-stream") {
		f.heard()
	}
}
