package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"cellar/internal/fault"
	"cellar/server/app"
	"cellar/server/hub"
)

// statusOf is the one place where a class becomes a status.
func statusOf(err error) int {
	switch fault.CodeOf(err) {
	case "not_signed_in":
		return http.StatusUnauthorized
	case "too_large":
		return http.StatusRequestEntityTooLarge
	case hub.NothingListens, app.BadGateway:
		return http.StatusBadGateway
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return http.StatusGatewayTimeout
	}
	switch fault.ClassOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Unsupported:
		return http.StatusUnprocessableEntity
	case fault.Exhausted:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// problem is RFC 9457's form of an error, with our stable code.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	ID     string `json:"id,omitempty"` // the same as in the log
}

// Error and GetStatus make it an error that huma answers with.
func (p *problem) Error() string  { return p.Detail }
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// problemOf tells err to the person, and what is our own fault to the log.
func (s *Server) problemOf(r *http.Request, err error) *problem {
	p := &problem{Type: "about:blank", Status: statusOf(err), Detail: fault.Sentence(err), Code: fault.CodeOf(err)}
	p.Title = http.StatusText(p.Status)
	if p.Code == "" {
		p.Code = string(fault.ClassOf(err))
	}
	if p.Status >= 500 && p.Status != http.StatusBadGateway { // that is a person's application, not us
		b := make([]byte, 6)
		rand.Read(b)
		p.ID = hex.EncodeToString(b)
		s.log.Error("request failed", "id", p.ID, "method", r.Method, "path", forLog(r.URL.Path), "status", p.Status, "error", err)
		if p.Status == http.StatusInternalServerError {
			p.Detail = "Something went wrong on our side. The server's log has it under " + p.ID + "."
		}
	}
	return p
}

// Fail answers an error: a page to a browser that wants one, Jupyter's form on
// Jupyter's routes, problem+json to all others.
func (s *Server) Fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // nobody is there to read it
	}
	p := s.problemOf(r, err)
	s.failHeaders(w, p.Status)
	if wantsPage(r) {
		s.console.Error(w, r, s.page(r), p.Status, p.Title, p.Detail, p.ID)
		return
	}
	var body any = p
	kind := "application/problem+json"
	if jupyterRoute(r) {
		kind = "application/json"
		body = map[string]any{"message": p.Detail, "reason": p.Code, "short_message": p.Title, "code": p.Code, "id": p.ID}
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(body)
}

// failHeaders says when to come again, and how to sign in.
func (s *Server) failHeaders(w http.ResponseWriter, status int) {
	if (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "2")
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
}

func jupyterRoute(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/projects/") || strings.HasPrefix(r.URL.Path, "/api/contents") || isStripped(r)
}

// isStripped reports whether the project's prefix was taken off already.
func isStripped(r *http.Request) bool {
	_, ok := r.Context().Value(projectKey{}).(*opened)
	return ok
}

func wantsPage(r *http.Request) bool {
	return safeMethod(r.Method) && strings.Contains(r.Header.Get("Accept"), "text/html") && r.Header.Get("Sec-Fetch-Dest") != "empty"
}
