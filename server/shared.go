package server

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
	"cellar/server/jupyter/reading"
	"cellar/web/console"
)

// shared finds what a request for a share is about. Its secret is in the address:
// that goes into no log of ours, to no other page and into no index.
func (s *Server) shared(h func(http.ResponseWriter, *http.Request, hub.Shared) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
		head.Set("Cache-Control", "no-store")
		shown, err := s.findShared(r)
		if err == nil {
			err = s.hub.MayLook(shown)
		}
		if err == nil {
			err = h(w, r, shown)
		}
		switch {
		case err == nil:
		case fault.CodeOf(err) == "not_signed_in":
			s.askToSignIn(w, r)
		case fault.CodeOf(err) == "not_shared" && wantsPage(r):
			s.console.NotShared(w, r, s.page(r), fault.Sentence(err), s.Base+r.URL.Path)
		default:
			s.Fail(w, r, err)
		}
	}
}

func (s *Server) findShared(r *http.Request) (hub.Shared, error) {
	u, signedIn := Who(r.Context())
	if secret := r.PathValue("secret"); secret != "" {
		return s.hub.ByLink(r.Context(), hub.Visitor{User: u, SignedIn: signedIn, From: s.client(r)}, secret)
	}
	if !signedIn {
		return hub.Shared{}, errNotSignedIn
	}
	return s.hub.SharedWith(r.Context(), u, r.PathValue("share"))
}

// sharedPage is the page around the notebook: ours, with the notebook in a frame.
func (s *Server) sharedPage(w http.ResponseWriter, r *http.Request, shown hub.Shared) error {
	u, signedIn := Who(r.Context())
	s.hub.Opened(r.Context(), hub.Visitor{User: u, SignedIn: signedIn, From: s.client(r)}, shown)
	here := s.Base + r.URL.EscapedPath()
	info := console.SharedInfo{
		Name: path.Base(shown.Notebook), Label: shown.Name, Owner: shown.Owner, At: shown.At, Copies: shown.Copies, Secret: r.PathValue("secret"), ID: r.PathValue("share"),
		Frame: here + "/notebook", Sandbox: strings.TrimPrefix(reading.Sandbox, "sandbox "), SignIn: s.Base + "/signin?next=" + url.QueryEscape(here), SignedIn: signedIn,
	}
	s.console.Shared(w, r, s.page(r), info)
	return nil
}

// sharedNotebook is the notebook itself, which can do nothing.
func (s *Server) sharedNotebook(w http.ResponseWriter, r *http.Request, shown hub.Shared) error {
	page, err := s.reads.get(r.Context(), shown.ID, func(ctx context.Context) ([]byte, error) {
		nb, err := s.hub.SharedNotebook(ctx, shown)
		if err != nil {
			return nil, err
		}
		return reading.Page(ctx, nb, path.Base(shown.Notebook))
	})
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Security-Policy", reading.Policy)
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	_, _ = w.Write(page) // a client that went away needs no answer
	return nil
}

// readings are pages of shared notebooks that were made a moment ago: many people
// open a link at once, and a large notebook takes seconds.
type readings struct {
	mu    sync.Mutex
	pages map[string]*readingOf // by share
	slots chan struct{}
}

// readingOf is a page that is made, or being made.
type readingOf struct {
	ready chan struct{}
	page  []byte
	err   error
	at    time.Time // when it was ready; zero: it is not
}

const (
	readingLasts = 3 * time.Second  // a page is as old at most
	readingTime  = 30 * time.Second // it takes as long at most, with the wait for others
	readingsHeld = 64 << 20         // bytes of pages that are remembered
	readingsOnce = 2                // are made at a time
)

// get gives a page, made by do unless there is one.
func (l *readings) get(ctx context.Context, id string, do func(context.Context) ([]byte, error)) ([]byte, error) {
	r, mine := l.find(id, time.Now())
	if mine {
		l.fill(ctx, r, do)
	}
	select {
	case <-r.ready:
		return r.page, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// find answers the page of a share; mine: the caller makes it.
func (l *readings) find(id string, now time.Time) (r *readingOf, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pages == nil {
		l.pages, l.slots = map[string]*readingOf{}, make(chan struct{}, readingsOnce)
	}
	held := 0
	for id, old := range l.pages {
		if old.at.IsZero() {
			continue
		}
		if held += len(old.page); now.Sub(old.at) > readingLasts || held > readingsHeld {
			delete(l.pages, id)
		}
	}
	if r = l.pages[id]; r == nil {
		r, mine = &readingOf{ready: make(chan struct{})}, true
		l.pages[id] = r
	}
	return r, mine
}

// fill makes a page, also when who asked first has gone: others may wait.
func (l *readings) fill(ctx context.Context, r *readingOf, do func(context.Context) ([]byte, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readingTime)
	defer cancel()
	r.err = errReadingBusy // should do panic
	defer func() {
		l.mu.Lock()
		r.at = time.Now()
		l.mu.Unlock()
		close(r.ready)
	}()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return
	}
	r.page, r.err = do(ctx)
}

var errReadingBusy = fault.New(fault.Unavailable, "busy", "The server is busy with other notebooks. Try again in a moment.")

// forLog is a path as it may stand in a log: without the secret of a link.
func forLog(path string) string {
	rest, ok := strings.CutPrefix(path, "/s/")
	if !ok {
		return path
	}
	_, rest, more := strings.Cut(rest, "/")
	if more {
		rest = "/" + rest
	}
	return "/s/…" + rest
}
