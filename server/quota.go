package server

import (
	"net/http"
	"net/url"
	"strings"
)

// withinQuota refuses to make new files in a project that has no room left. What is
// there is saved all the same: nobody loses what they wrote.
func (s *Server) withinQuota(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.makes(r) {
			if err := s.hub.MayAdd(r.Context(), projectOf(r).Project); err != nil {
				s.Fail(w, r, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// makes reports whether a request makes a file that is not there yet.
func (s *Server) makes(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/api/contents")
	if !ok {
		return false
	}
	switch r.Method {
	case http.MethodPost:
		return !strings.HasSuffix(rest, "/trust") && !strings.Contains(rest, "/checkpoints")
	case http.MethodPut:
		tree, err := s.tree(r)
		if err != nil {
			return false
		}
		name, err := url.PathUnescape(strings.Trim(rest, "/"))
		return err == nil && !tree.Exists(name)
	}
	return false
}
