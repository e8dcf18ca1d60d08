package server

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
)

// How slowly a body may come: who sends a byte now and then holds what a request
// holds for as long as they like. A minute is free, then the mean counts.
const (
	paceGrace = time.Minute
	paceRate  = 16 << 10 // bytes a second
)

// pace ends requests whose bodies come too slowly. What goes on to an application
// of a project keeps the application's own pace.
func pace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody && !forApplication(r) {
			r.Body = &paced{ReadCloser: r.Body, conn: http.NewResponseController(w), begun: time.Now()}
		}
		next.ServeHTTP(w, r)
	})
}

// forApplication reports whether a request goes on to an application of a project.
func forApplication(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.Path, "/projects/")
	_, rest, _ = strings.Cut(rest, "/")
	return ok && strings.HasPrefix(rest, "proxy/")
}

// paced is a body with a deadline that moves as bytes come.
type paced struct {
	io.ReadCloser
	conn  *http.ResponseController
	begun time.Time
	came  int64
}

// due is when the next byte must have come.
func (p *paced) due() time.Time {
	return p.begun.Add(paceGrace + time.Duration(p.came)*time.Second/paceRate)
}

func (p *paced) Read(b []byte) (int, error) {
	_ = p.conn.SetReadDeadline(p.due()) // where there is no connection, nobody holds one
	n, err := p.ReadCloser.Read(b)
	if p.came += int64(n); err != nil {
		_ = p.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

// maxSockets is how many websockets one person may have open, of all kinds and in
// all projects.
const maxSockets = 512

// sockets counts open websockets by person.
type sockets struct {
	mu   sync.Mutex
	open map[string]int
}

func (s *sockets) enter(person string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]int{}
	}
	if s.open[person] >= maxSockets {
		return nil, fault.Newf(fault.Exhausted, "too_many_sockets", "You have %d connections open, which is the most there can be. Close some tabs or programs.", maxSockets)
	}
	s.open[person]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open[person]--; s.open[person] == 0 {
			delete(s.open, person)
		}
	}, nil
}
