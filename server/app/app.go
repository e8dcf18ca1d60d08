// Package app carries HTTP and websockets between a client and an application:
// a web server that a person started in a project. It knows headers, cookies and
// paths; it knows no people, and not where the application runs.
//
// Applications are hostile: they must learn none of the hub's secrets and change
// nothing of the hub's in the browser.
package app

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// maxHeader bounds the headers of an application's answer; those of requests
// are bounded by the hub's server.
const maxHeader = 64 << 10

// Way is how one request gets to an application.
type Way struct {
	Address
	Prefix string // public path of the mount, escaped, without a slash at its end
	Host   string // what the client called us
	Secure bool   // it came by TLS
	// Sandbox: the answer is given on the hub's own origin. It can do nothing
	// there should a browser show it.
	Sandbox bool
	Dial    func(ctx context.Context) (net.Conn, error)
	Secret  func(string) bool // reports whether a secret is one of the hub's
	Cookies []string          // names of the hub's cookies
	Fail    func(http.ResponseWriter, *http.Request, error)
	Log     *log.Logger
}

// ServeHTTP implements http.Handler.
func (y *Way) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if y.Rest == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		// Relative links of the page need the slash.
		to := url.URL{RawQuery: y.query(r.URL.RawQuery)}
		http.Redirect(w, r, y.Prefix+"/"+to.String(), http.StatusFound)
		return
	}
	p := &httputil.ReverseProxy{
		Rewrite: y.rewrite, ModifyResponse: y.modify, Transport: y.transport(), FlushInterval: -1, ErrorLog: y.Log,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { y.Fail(w, r, y.told(err)) },
	}
	p.ServeHTTP(w, r)
}

// transport is for one request. Connections are not kept: an idle one would
// stay in a container that is to be frozen, and the next request has to look
// anew for where the application runs.
func (y *Way) transport() http.RoundTripper {
	return untraced{&http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return y.Dial(ctx) },
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}}
}

// untraced hides the proxy's trace from the transport: it would pass on what an
// application says in 1xx answers, which modify does not see.
type untraced struct{ http.RoundTripper }

func (u untraced) RoundTrip(r *http.Request) (*http.Response, error) {
	return u.RoundTripper.RoundTrip(r.WithContext(bare{r.Context()}))
}

// bare is a context without values.
type bare struct{ context.Context }

func (bare) Value(any) any { return nil }

func (y *Way) rewrite(p *httputil.ProxyRequest) {
	out := p.Out
	query := y.query(p.In.URL.RawQuery) // as it came: the package has taken out what Go cannot parse
	out.URL = y.target(y.Prefix)
	out.URL.Scheme, out.URL.Host, out.URL.RawQuery = "http", "127.0.0.1:"+strconv.Itoa(y.Port), query
	out.Host = y.Host // frameworks compare it with Origin
	y.hideSecrets(out.Header)
	if !strings.EqualFold(out.Header.Get("Upgrade"), "websocket") {
		out.Header.Del("Upgrade")
		out.Header.Del("Connection")
	}
	for name := range out.Header { // what proxies before us said; only ours counts
		if strings.HasPrefix(name, "X-Forwarded-") || name == "X-Real-Ip" {
			out.Header.Del(name)
		}
	}
	proto := "http"
	if y.Secure {
		proto = "https"
	}
	out.Header.Set("X-Forwarded-Host", y.Host)
	out.Header.Set("X-Forwarded-Proto", proto)
	out.Header.Set("X-Forwarded-Prefix", y.Prefix)
}

// modify takes out of an answer what would reach beyond the application, and
// puts its addresses below the prefix.
func (y *Way) modify(res *http.Response) error {
	h := res.Header
	for _, name := range beyond {
		h.Del(name)
	}
	if cookies := h.Values("Set-Cookie"); len(cookies) > 0 {
		h.Del("Set-Cookie")
		for _, c := range cookies {
			if c, ok := y.cookie(c); ok {
				h.Add("Set-Cookie", c)
			}
		}
	}
	for _, name := range []string{"Location", "Content-Location"} {
		if to := h.Get(name); to != "" {
			h.Set(name, y.location(to))
		}
	}
	if y.Sandbox {
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				h.Del(name)
			}
		}
		// The hub's own are on the answer already.
		for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Content-Security-Policy-Report-Only"} {
			h.Del(name)
		}
		h.Set("Content-Security-Policy", "sandbox")
	}
	return nil
}

// beyond are headers that speak for the whole origin, or for the host with all
// its ports: the hub's too.
var beyond = []string{
	"Strict-Transport-Security", "Public-Key-Pins", "Public-Key-Pins-Report-Only", "Expect-CT", "Clear-Site-Data",
	"Service-Worker-Allowed", "Alt-Svc", "Nel", "Report-To",
}

// location puts what an application calls its own address below the prefix.
func (y *Way) location(to string) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	if u.Host != "" {
		if !y.itself(u.Host) || (u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https") {
			return to // elsewhere
		}
		u.Scheme, u.Host, u.User = "", "", nil
		if u.Path == "" {
			u.Path = "/"
		}
	} else if u.Scheme != "" || !strings.HasPrefix(u.Path, "/") {
		return to // relative
	}
	path := u.EscapedPath()
	if !y.Absolute && !y.below(path) {
		path = y.Prefix + path
	}
	if strings.HasPrefix(path, "//") {
		path = "/." + path // not the name of a host
	}
	rest := url.URL{RawQuery: u.RawQuery, ForceQuery: u.ForceQuery, Fragment: u.Fragment, RawFragment: u.RawFragment}
	return path + rest.String()
}

// below reports whether an application that reads X-Forwarded-Prefix has put the
// prefix in front already.
func (y *Way) below(path string) bool {
	return path == y.Prefix || strings.HasPrefix(path, y.Prefix+"/")
}

// itself reports whether a host is how the application knows itself.
func (y *Way) itself(host string) bool {
	if strings.EqualFold(host, y.Host) {
		return true
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "80"
	}
	switch strings.ToLower(strings.Trim(name, "[]")) {
	case "localhost", "127.0.0.1", "0.0.0.0", "::1", "::":
		return port == strconv.Itoa(y.Port)
	}
	return false
}

// told makes a sentence of what went wrong between us and the application.
func (y *Way) told(err error) error {
	var known *fault.Error
	var size *http.MaxBytesError
	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &size):
		return fault.Wrap(fault.Exhausted, "too_large", "The request is too large.", err)
	case errors.Is(err, io.EOF):
		return fault.Wrap(fault.Unavailable, BadGateway, "The application on port "+strconv.Itoa(y.Port)+" closed the connection without an answer. Is it an HTTP server?", err)
	}
	return fault.Wrap(fault.Unavailable, BadGateway, "The application on port "+strconv.Itoa(y.Port)+" gave no answer that can be passed on. Is it an HTTP server?", err)
}

// BadGateway is the code of an application's failure to answer.
const BadGateway = "application_failed"
