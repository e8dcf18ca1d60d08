package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/node"
	"cellar/server/hub"
)

// callLimit is how long one call of a node may take, a cold start included.
const callLimit = 60 * time.Second

// Headers of calls. In a request they name what is to answer, in an answer what
// has answered.
const (
	revisionHeader = "Cellar-Revision" // the number of a node's revision
	targetHeader   = "Cellar-Target"   // a target of an alias: NODE@REVISION or NODE
)

// execute answers a call of a node or an alias. The key is in the Authorization
// header.
func (s *Server) execute(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c, err := s.admit(w, r, r.PathValue("id"), true)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	body, err := readCall(r)
	var a hub.Answer
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), callLimit)
		defer cancel()
		a, err = s.hub.Answer(ctx, c, body)
	}
	s.count(c, a, statusOfCall(err), time.Since(start))
	s.tellAnswerer(w, c, a)
	if err != nil {
		s.failCall(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(a.Outputs)
}

// admit finds what a request calls, and looks at its key.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, name string, spend bool) (hub.Called, error) {
	id, revision, err := chosen(r, name)
	if err != nil {
		return hub.Called{}, err
	}
	_, from := by(r.Context())
	c, wait, err := s.hub.Admit(r.Context(), id, token(r), from, spend)
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	if err != nil {
		return c, err
	}
	c.Revision, c.Target = revision, r.Header.Get(targetHeader)
	switch {
	case c.Alias.ID != "" && revision != 0:
		return c, fault.New(fault.Invalid, "revision_of_alias", "An alias has no revisions. Name one of its targets in the header "+targetHeader+", as NODE@REVISION.")
	case c.Alias.ID == "" && c.Target != "":
		return c, fault.New(fault.Invalid, "target_of_node", "Only aliases have targets. Name a revision of the node in the header "+revisionHeader+".")
	}
	return c, nil
}

func readCall(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, node.MaxBody+1))
	if err == nil && len(body) > node.MaxBody {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "bad_body", "The request could not be read.", err)
	}
	return body, nil
}

// tellAnswerer says in the headers what has answered.
func (s *Server) tellAnswerer(w http.ResponseWriter, c hub.Called, a hub.Answer) {
	if a.Revision == 0 {
		return
	}
	w.Header().Set(revisionHeader, strconv.Itoa(a.Revision))
	if c.Alias.ID != "" {
		w.Header().Set(targetHeader, node.Share{Node: a.Node.ID, Revision: a.Revision}.Target())
	}
}

// chosen splits what a call names: NODE, or NODE@REVISION, or the revision in a
// header. 0 is the current one.
func chosen(r *http.Request, name string) (id string, revision int, err error) {
	header := r.Header.Get(revisionHeader)
	id, number, named := strings.Cut(name, "@")
	if named && header != "" && number != header {
		return id, 0, fault.New(fault.Invalid, "revision_twice", "The address and the header "+revisionHeader+" name different revisions.")
	}
	if header != "" {
		name = id + "@" + header
	}
	return node.ParseTarget(name)
}

// statusOfCall is the status that failCall answers with.
func statusOfCall(err error) int {
	var theirs *node.CallError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &theirs):
		return http.StatusUnprocessableEntity
	case errors.Is(err, context.Canceled):
		return 499 // as other servers count callers who have left
	}
	return statusOf(err)
}

// failCall tells an error of the person's own code with its name and place.
func (s *Server) failCall(w http.ResponseWriter, r *http.Request, err error) {
	var theirs *node.CallError
	if !errors.As(err, &theirs) {
		s.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": "The cell failed", "status": http.StatusUnprocessableEntity, "code": "cell_error",
		"detail": theirs.Error(), "error_name": theirs.Name, "error_message": theirs.Message, "traceback": theirs.Traceback,
	})
}

// isCall reports whether a request is a caller's, whose key is not a person's
// token: there is no person to look for.
func isCall(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/nodes/") || strings.HasPrefix(r.URL.Path, "/aliases/") || strings.HasPrefix(r.URL.Path, "/v2/") || r.URL.Path == "/v2"
}
