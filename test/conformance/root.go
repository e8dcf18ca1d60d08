package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// atRoot serves a project at the root of an address of its own: Galata's tests ask
// for /api/contents and the like, whatever the base URL.
func (w *world) atRoot(s *site) (address string, err error) {
	to, err := url.Parse(s.base)
	if err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
		r.Out.Host = r.In.Host // what a page's Origin is compared with
		for _, whole := range []string{"/projects/", "/static/", "/api/v1/"} {
			if strings.HasPrefix(r.In.URL.Path, whole) {
				return
			}
		}
		r.Out.URL.Path = to.Path + strings.TrimPrefix(r.In.URL.Path, "/")
		if r.In.URL.RawPath != "" {
			r.Out.URL.RawPath = to.Path + strings.TrimPrefix(r.In.URL.RawPath, "/")
		}
	}}
	server := &http.Server{Handler: proxy}
	done := make(chan struct{})
	go func() { server.Serve(ln); close(done) }()
	w.later(func() { server.Shutdown(context.Background()); server.Close(); <-done })
	return "http://" + ln.Addr().String(), nil
}
