package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// callLimit is how long one call of a node may take, a cold start included.
const callLimit = 60 * time.Second

// execute answers a call of a node. The key is in the Authorization header.
func (s *Server) execute(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	key := token(r)
	if key == "" {
		s.Fail(w, r, fault.New(fault.Denied, "not_signed_in", "A call needs the node's API key: Authorization: Bearer KEY."))
		return
	}
	id, revision, err := chosen(r)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	n, err := s.hub.CheckKey(r.Context(), id, key)
	if err != nil {
		if errors.Is(err, fault.NotFound) {
			err = fault.New(fault.Denied, "wrong_key", "There is no node by that ID, or the key is not for it.")
		}
		s.Fail(w, r, err)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, node.MaxBody+1))
	if err == nil && len(body) > node.MaxBody {
		err = errTooLarge
	} else if err != nil {
		err = fault.Wrap(fault.Invalid, "bad_body", "The request could not be read.", err)
	}
	var out json.RawMessage
	var by int
	if err == nil {
		ctx, cancel := context.WithTimeout(r.Context(), callLimit)
		defer cancel()
		out, by, err = s.hub.CallNode(ctx, n, revision, body)
	}
	s.metrics.call(n, err, time.Since(start))
	if by > 0 {
		w.Header().Set(revisionHeader, strconv.Itoa(by))
	}
	if err != nil {
		s.failCall(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(out)
}

// revisionHeader names a revision: in a request the one that is to answer, in an
// answer the one that has.
const revisionHeader = "Cellar-Revision"

// chosen splits what a call names: NODE, or NODE@REVISION, or the revision in a
// header. 0 is the current one.
func chosen(r *http.Request) (id string, revision int, err error) {
	id, number, named := strings.Cut(r.PathValue("id"), "@")
	if header := r.Header.Get(revisionHeader); header != "" {
		if named && number != header {
			return id, 0, fault.New(fault.Invalid, "revision_twice", "The address and the header "+revisionHeader+" name different revisions.")
		}
		number, named = header, true
	}
	if !named {
		return id, 0, nil
	}
	if revision, err = strconv.Atoi(number); err != nil || revision < 1 {
		return id, 0, fault.Newf(fault.Invalid, "revision_invalid", "%.20q is not the number of a revision.", number)
	}
	return id, revision, nil
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
