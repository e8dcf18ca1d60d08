package server

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"cellar/internal/fault"
)

// deadlines is a connection that keeps to the deadline it is given: nobody is so slow
// in earnest that a test could wait for it.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// trickle is a body of which each piece comes so long after the one before.
type trickle struct {
	conn  *deadlines
	now   time.Time
	pause time.Duration
	piece int
	left  int
}

func (t *trickle) Close() error { return nil }
func (t *trickle) Read(b []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	if t.now = t.now.Add(t.pause); t.now.After(t.conn.set[len(t.conn.set)-1]) {
		return 0, os.ErrDeadlineExceeded
	}
	t.left--
	return copy(b, strings.Repeat("x", t.piece)), nil
}

func TestSlowBodies(t *testing.T) {
	for name, c := range map[string]struct {
		pause  time.Duration
		piece  int
		pieces int
		whole  bool
	}{
		"at once":                        {0, 1, 1, true},
		"a byte every ten seconds":       {10 * time.Second, 1, 1000, false},
		"nothing for two minutes":        {2 * time.Minute, 1000, 2, false},
		"a modem, 20 kB a second":        {200 * time.Millisecond, 4 << 10, 18000, true},
		"half of what is needed":         {time.Second, 8 << 10, 3600, false},
		"short, within the first minute": {10 * time.Second, 1, 5, true},
	} {
		conn := &deadlines{ResponseWriter: httptest.NewRecorder()}
		body := &trickle{conn: conn, now: time.Now(), pause: c.pause, piece: c.piece, left: c.pieces}
		r := httptest.NewRequest("PUT", "/projects/p/api/contents/x", body)
		var n int64
		var err error
		pace(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { n, err = io.Copy(io.Discard, r.Body) })).ServeHTTP(conn, r)
		if c.whole != (err == nil && n == int64(c.piece*c.pieces)) || !c.whole && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if !conn.set[len(conn.set)-1].IsZero() {
			t.Errorf("%s: the line keeps a deadline after the body", name)
		}
	}
}

func TestWhosePaceItIs(t *testing.T) {
	for path, theirs := range map[string]bool{
		"/projects/p/proxy/8000/x": true, "/projects/p/proxy/absolute/8000/": true, "/projects/p/api/contents/proxy/x": false, "/projects/p/files/proxy/8000/": false,
		"/projects/proxy/api/contents/x": false, "/api/v1/projects/proxy/x": false, "/nodes/proxy/execute": false,
	} {
		if forApplication(httptest.NewRequest("POST", path, nil)) != theirs {
			t.Errorf("%s", path)
		}
	}
}

func TestSocketsOfOnePerson(t *testing.T) {
	var s sockets
	var leave []func()
	for range maxSockets {
		f, err := s.enter("ada")
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, f)
	}
	if _, err := s.enter("ada"); fault.CodeOf(err) != "too_many_sockets" || fault.ClassOf(err) != fault.Exhausted {
		t.Errorf("one more: %v", err)
	}
	if f, err := s.enter("bob"); err != nil {
		t.Errorf("somebody else: %v", err)
	} else {
		f()
	}
	leave[0]()
	if _, err := s.enter("ada"); err != nil {
		t.Errorf("after one has gone: %v", err)
	}
	for _, f := range leave[1:] {
		f()
	}
	if len(s.open) != 1 || s.open["ada"] != 1 {
		t.Errorf("counted: %v", s.open)
	}
}
