package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"cellar/internal/fault"
	"cellar/node"
	"cellar/server/hub"
)

// The Open Inference Protocol, version 2, over REST: a node or an alias is a
// model, a revision is a version of it.

// inferenceRequest is what infer takes. Parameters are of no meaning to us.
type inferenceRequest struct {
	ID         string          `json:"id"`
	Parameters json.RawMessage `json:"parameters"`
	Inputs     []node.Tensor   `json:"inputs"`
	Outputs    []struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"outputs"`
}

type inferenceAnswer struct {
	Model   string        `json:"model_name"`
	Version string        `json:"model_version"`
	ID      string        `json:"id,omitempty"`
	Outputs []node.Tensor `json:"outputs"`
}

// binaryLength is the header of the extension that sends tensors as bytes.
const binaryLength = "Inference-Header-Content-Length"

var errBinary = fault.New(fault.Unsupported, "binary_tensors", "Tensors are sent as JSON here. Turn binary data off in your client, for inputs and outputs.")

func (s *Server) inferenceServer(w http.ResponseWriter, r *http.Request) {
	inferenceJSON(w, http.StatusOK, map[string]any{"name": "cellar", "version": s.Version, "extensions": []string{}})
}

func (s *Server) inferenceLive(w http.ResponseWriter, r *http.Request) {
	inferenceJSON(w, http.StatusOK, map[string]bool{"live": true})
}

func (s *Server) inferenceReady(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	if s.Ready(r.Context()) != nil {
		status = http.StatusServiceUnavailable
	}
	inferenceJSON(w, status, map[string]bool{"ready": status == http.StatusOK})
}

// model finds the node or alias of a request.
func (s *Server) model(w http.ResponseWriter, r *http.Request, spend bool) (hub.Called, error) {
	name := r.PathValue("model")
	if version := r.PathValue("version"); version != "" {
		name += "@" + version
	}
	return s.admit(w, r, name, spend)
}

func (s *Server) inferenceModel(w http.ResponseWriter, r *http.Request) {
	c, err := s.model(w, r, false)
	if err != nil {
		s.failInference(w, r, err)
		return
	}
	n, revision, err := s.hub.Served(r.Context(), c)
	if err != nil {
		s.failInference(w, r, err)
		return
	}
	var inputs, outputs []node.Field
	versions := []string{}
	list, err := s.hub.Store.Revisions(r.Context(), n.ID)
	for _, v := range list {
		versions = append(versions, strconv.Itoa(v.Number))
	}
	if err := errors.Join(err, json.Unmarshal(revision.Inputs, &inputs), json.Unmarshal(revision.Outputs, &outputs)); err != nil {
		s.failInference(w, r, err)
		return
	}
	slices.Reverse(versions)
	inferenceJSON(w, http.StatusOK, map[string]any{"name": c.ID(), "versions": versions, "platform": "cellar", "inputs": node.Metadata(inputs), "outputs": node.Metadata(outputs)})
}

// inferenceModelReady says whether calls are taken; a model that sleeps is ready,
// as the first call wakes it.
func (s *Server) inferenceModelReady(w http.ResponseWriter, r *http.Request) {
	c, err := s.model(w, r, false)
	if err != nil {
		s.failInference(w, r, err)
		return
	}
	n, _, err := s.hub.Served(r.Context(), c)
	if err != nil {
		s.failInference(w, r, err)
		return
	}
	status := http.StatusOK
	if n.Paused {
		status = http.StatusBadRequest // the protocol's word for no
	}
	inferenceJSON(w, status, map[string]any{"name": c.ID(), "ready": !n.Paused})
}

// infer answers a call.
func (s *Server) infer(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c, err := s.model(w, r, true)
	if err != nil {
		s.failInference(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callLimit)
	defer cancel()
	a, answer, err := s.inference(ctx, r, c)
	s.count(c, a, statusOfCall(err), time.Since(start))
	s.tellAnswerer(w, c, a)
	if err != nil {
		s.failInference(w, r, err)
		return
	}
	inferenceJSON(w, http.StatusOK, answer)
}

func (s *Server) inference(ctx context.Context, r *http.Request, c hub.Called) (hub.Answer, *inferenceAnswer, error) {
	if r.Header.Get(binaryLength) != "" {
		return hub.Answer{}, nil, errBinary
	}
	body, err := readCall(r)
	if err != nil {
		return hub.Answer{}, nil, err
	}
	var in inferenceRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return hub.Answer{}, nil, fault.New(fault.Invalid, "input_invalid", "The body is not a request of the Open Inference Protocol: "+err.Error()+".")
	}
	var wanted []string
	for _, o := range in.Outputs {
		wanted = append(wanted, o.Name)
	}
	a, err := s.hub.AnswerFrom(ctx, c, func(inputs []node.Field) ([]byte, error) { return node.FromTensors(inputs, in.Inputs) })
	if err != nil {
		return a, nil, err
	}
	out, err := node.ToTensors(a.Fields, a.Outputs, wanted)
	return a, &inferenceAnswer{Model: c.ID(), Version: strconv.Itoa(a.Revision), ID: in.ID, Outputs: out}, err
}

// failInference tells an error in the protocol's form.
func (s *Server) failInference(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // nobody is there to read it
	}
	var theirs *node.CallError
	if errors.As(err, &theirs) {
		inferenceJSON(w, http.StatusUnprocessableEntity, map[string]any{"error": theirs.Error(), "error_name": theirs.Name, "error_message": theirs.Message, "traceback": theirs.Traceback})
		return
	}
	p := s.problemOf(r, err)
	s.failHeaders(w, p.Status)
	inferenceJSON(w, p.Status, map[string]string{"error": p.Detail, "code": p.Code})
}

func inferenceJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
