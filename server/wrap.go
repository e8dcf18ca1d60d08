package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip" // twice as fast as the standard library's

	"cellar/internal/fault"
	"cellar/web/console"
)

// wrap is what happens to every request, outermost first: the base path, a log
// line, panics, headers, compression, who it is.
func (s *Server) wrap(h http.Handler) http.Handler {
	h = pace(s.authenticate(h))
	h = compress(h)
	h = s.headers(h)
	return s.below(s.guard(h))
}

// below takes the base path off.
func (s *Server) below(h http.Handler) http.Handler {
	if s.Base == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, s.Base)
		switch {
		case ok && rest == "":
			http.Redirect(w, r, s.Base+"/", http.StatusFound)
		case ok && rest[0] == '/':
			http.StripPrefix(s.Base, h).ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

// guard counts requests and answers panics.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				err := fmt.Errorf("panic: %v\n%s", v, debug.Stack())
				if rec.status == 0 {
					s.Fail(rec, r, err)
				} else {
					s.log.Error("panic after the answer had begun", "path", forLog(r.URL.Path), "error", err)
				}
			}
			s.metrics.request(r, rec.status, time.Since(start))
			s.log.Debug("request", "method", r.Method, "path", forLog(r.URL.Path), "status", rec.status, "took", time.Since(start))
		}()
		next.ServeHTTP(rec, r)
	})
}

// dataPolicy is for what is no page: should a browser take it for one, it can do
// nothing. Pages and files of a project have policies of their own.
const dataPolicy = "default-src 'none'; frame-ancestors 'self'; sandbox"

// headers are those of every answer on the hub's own origin.
func (s *Server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", console.Policy) // project has its own
		if s.secure(r) {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// recorder notes the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) Flush() { http.NewResponseController(r.ResponseWriter).Flush() }

func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.status = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// compress gzips JSON and text that is made for the request; what is stored
// compressed, ranges and streams pass.
func compress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") || r.Header.Get("Upgrade") != "" || r.Header.Get("Range") != "" || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		c := &compressor{ResponseWriter: w, near: near(r)}
		defer c.close()
		next.ServeHTTP(c, r)
	})
}

var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return z
}}

const (
	compressFrom = 1024
	// nearAsIs is from where an answer to who is on the same machine goes out as it
	// is: compressing it takes longer than it spares.
	nearAsIs = 256 << 10
)

// near reports whether a client is on this machine, and not behind a proxy on it.
func near(r *http.Request) bool {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	h := r.Header
	return err == nil && addr.Addr().Unmap().IsLoopback() && h.Get("X-Forwarded-For") == "" && h.Get("Forwarded") == "" && h.Get("Via") == ""
}

type compressor struct {
	http.ResponseWriter
	near    bool
	z       *gzip.Writer
	decided bool
	status  int
}

func (c *compressor) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *compressor) decide(first []byte) {
	if c.decided {
		return
	}
	c.decided = true
	h := c.Header()
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	size := len(first)
	if n, err := strconv.Atoi(h.Get("Content-Length")); err == nil {
		size = n
	}
	text := strings.HasSuffix(kind, "json") || kind == "text/html" || kind == "text/css" || kind == "text/javascript" || kind == "image/svg+xml"
	if text && size >= compressFrom && !(c.near && size >= nearAsIs) && h.Get("Content-Encoding") == "" && (c.status == 0 || c.status == http.StatusOK || c.status == http.StatusCreated) {
		h.Del("Content-Length")
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		c.z = gzips.Get().(*gzip.Writer)
		c.z.Reset(c.ResponseWriter)
	}
	if c.status != 0 {
		c.ResponseWriter.WriteHeader(c.status)
	}
}

func (c *compressor) Write(b []byte) (int, error) {
	c.decide(b)
	if c.z != nil {
		return c.z.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

func (c *compressor) Flush() {
	c.decide(nil)
	if c.z != nil {
		c.z.Flush()
	}
	http.NewResponseController(c.ResponseWriter).Flush()
}

func (c *compressor) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func (c *compressor) close() {
	if !c.decided && c.status != 0 {
		c.ResponseWriter.WriteHeader(c.status)
	}
	if c.z != nil {
		c.z.Close()
		gzips.Put(c.z)
	}
}

var errTooLarge = fault.New(fault.Exhausted, "too_large", "The request is larger than the 16 MB that are allowed.")
