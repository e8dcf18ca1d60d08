package contents

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
)

// handler answers requests under /api/contents, /files, /view and /directories.
type handler struct {
	open    func(*http.Request) (*Tree, error)
	overlay func(*http.Request) Overlay
	fail    func(http.ResponseWriter, *http.Request, error)
	tell    func(*http.Request, Action)
	trust   func(*http.Request) Trust
}

// Action is what a request did: get, create, save, rename, copy or delete.
type Action struct {
	Name string
	Path string
	From string // of a copy or a renaming: what it was made from
}

// Handler serves the contents of the tree that open finds for a request; the tree stays open, it is
// the caller's. overlay may be nil, and may answer nil. fail answers errors: a code of too_large is
// for a 413, everything else goes by class. tell hears of what succeeded; it may be nil. trust is what the person trusts, nil for all. What stands before /api, /files, /view and /directories in
// the request's URL must be stripped already.
func Handler(open func(*http.Request) (*Tree, error), overlay func(*http.Request) Overlay,
	fail func(http.ResponseWriter, *http.Request, error), tell func(*http.Request, Action), trust func(*http.Request) Trust) http.Handler {
	if trust == nil {
		trust = func(*http.Request) Trust { return nil }
	}
	if tell == nil {
		tell = func(*http.Request, Action) {}
	}
	if overlay == nil {
		overlay = func(*http.Request) Overlay { return nil }
	}
	h := &handler{open, overlay, fail, tell, trust}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, route := range h.routes() {
			rest, ok := strings.CutPrefix(r.URL.EscapedPath(), route.prefix)
			if !ok || rest != "" && rest[0] != '/' {
				continue
			}
			if !slices.Contains(strings.Fields(route.methods), r.Method) {
				_ = notAllowed(w, strings.ReplaceAll(route.methods, " ", ", "))
				return
			}
			if err := h.with(w, r, rest, route.serve); err != nil {
				fail(w, r, err)
			}
			return
		}
		fail(w, r, fault.New(fault.NotFound, "no_such_route", "There is nothing at this address."))
	})
}

// route is one address and all below it.
type route struct {
	prefix, methods string
	serve           func(http.ResponseWriter, *http.Request, *Tree, string) error
}

func (h *handler) routes() []route {
	return []route{
		{"/api/contents", "GET HEAD POST PUT PATCH DELETE", h.contents},
		{"/files", "GET HEAD", h.files}, {"/view", "GET HEAD", h.view}, {"/directories", "GET HEAD", h.archive},
	}
}

// Routes lists what Handler answers: method and address, {path...} for all below.
func Routes() (out []string) {
	for _, r := range (&handler{}).routes() {
		for method := range strings.FieldsSeq(r.methods) {
			out = append(out, method+" "+r.prefix+"/{path...}")
		}
	}
	return out
}

func (h *handler) with(w http.ResponseWriter, r *http.Request, escaped string,
	serve func(http.ResponseWriter, *http.Request, *Tree, string) error) error {
	p, err := url.PathUnescape(escaped)
	if err != nil {
		return fault.Wrap(fault.Invalid, "bad_path", "The address is not well-formed.", err)
	}
	t, err := h.open(r)
	if err != nil {
		return err
	}
	return serve(w, r, t, p)
}

func (h *handler) contents(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	if file, id, ok := t.checkpointPath(p); ok {
		return h.checkpoints(w, r, t, file, id)
	}
	if file, ok := strings.CutSuffix(p, "/trust"); ok && r.Method == http.MethodPost && t.Exists(file) && !t.Exists(p) {
		if err := t.TrustAll(file, h.trust(r)); err != nil {
			return err
		}
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return h.get(w, r, t, p)
	case http.MethodPost:
		return h.post(w, r, t, p)
	case http.MethodPut:
		return h.put(w, r, t, p)
	case http.MethodPatch:
		return h.patch(w, r, t, p)
	case http.MethodDelete:
		if err := t.Delete(p); err != nil {
			return err
		}
		h.tell(r, Action{Name: "delete", Path: strings.Trim(p, "/")})
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return notAllowed(w, "GET, HEAD, POST, PUT, PATCH, DELETE") // routes lets no other through
}

func notAllowed(w http.ResponseWriter, allow string) error {
	w.Header().Set("Allow", allow)
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return nil
}

// checkpointPath tells FILE/checkpoints[/ID] from the path of a file by that name. Only files have
// checkpoints, so below a directory "checkpoints" is a name like any other.
func (t *Tree) checkpointPath(p string) (file, id string, ok bool) {
	parts := strings.Split(strings.TrimRight(p, "/"), "/")
	n := len(parts)
	switch {
	case n >= 2 && parts[n-1] == "checkpoints":
		file = strings.Join(parts[:n-1], "/")
	case n >= 3 && parts[n-2] == "checkpoints":
		file, id = strings.Join(parts[:n-2], "/"), parts[n-1]
	default:
		return "", "", false
	}
	place, err := t.place(file)
	if err != nil {
		return file, id, true
	}
	info, err := t.root.Stat(at(place))
	return file, id, err != nil || !info.IsDir()
}

func (h *handler) get(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	q := r.URL.Query()
	want := Want{Type: q.Get("type"), Format: q.Get("format"), Overlay: h.overlay(r), Trust: h.trust(r)}
	var err error
	if want.Content, err = flag(q, "content", true); err != nil {
		return err
	}
	if want.Hash, err = flag(q, "hash", false); err != nil {
		return err
	}
	if want.Content {
		share := 2 * t.sizeOf(p) // as read, and as told
		if err := t.budget.body(share); err != nil {
			return err
		}
		defer t.budget.bodyDone(share)
	}
	m, err := t.Get(p, want)
	if err != nil {
		return err
	}
	h.tell(r, Action{Name: "get", Path: m.Path})
	return answer(w, http.StatusOK, m)
}

func flag(q url.Values, name string, unsaid bool) (bool, error) {
	switch q.Get(name) {
	case "":
		return unsaid, nil
	case "0":
		return false, nil
	case "1":
		return true, nil
	}
	return false, fault.Newf(fault.Invalid, "bad_query", "%s is to be 0 or 1.", name)
}

// post makes something new under a name of the server's choice.
func (h *handler) post(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	v, done, err := smallBody(w, r, t.budget)
	if err != nil {
		return err
	}
	defer done()
	var m *Model
	did := Action{Name: "create"}
	if from := v.get("copy_from").unquoted(); from != "" {
		did = Action{Name: "copy", From: strings.Trim(from, "/")}
		m, err = t.Copy(from, p)
	} else {
		m, err = t.New(p, v.get("type").str(), v.get("ext").unquoted())
	}
	if err != nil {
		return err
	}
	did.Path = m.Path
	h.tell(r, did)
	return created(w, r, m)
}

func (h *handler) put(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	body, done, err := bodyOf(w, r, t.maxContent, t.budget)
	if err != nil {
		return err
	}
	defer done()
	release, err := t.budget.parse(r.Context(), body)
	if err != nil {
		return err
	}
	defer release()
	if len(body) == 0 {
		m, err := t.New(p, "", "")
		if err != nil {
			return err
		}
		h.tell(r, Action{Name: "create", Path: m.Path})
		return created(w, r, m)
	}
	in, copyFrom, err := parseIncoming(body)
	if err != nil {
		return err
	}
	if copyFrom != "" {
		return fault.New(fault.Invalid, "copy_with_put", "Cannot copy with PUT, only POST.")
	}
	in.overlay, in.trust = h.overlay(r), h.trust(r)
	m, made, err := t.save(p, in)
	if err != nil {
		return err
	}
	h.tell(r, Action{Name: "save", Path: m.Path})
	if made {
		return created(w, r, m)
	}
	return answer(w, http.StatusOK, m)
}

func (h *handler) patch(w http.ResponseWriter, r *http.Request, t *Tree, p string) error {
	v, done, err := smallBody(w, r, t.budget)
	if err != nil {
		return err
	}
	defer done()
	to := v.get("path")
	if !to.is(kindString) {
		return fault.New(fault.Invalid, "no_path", "The new path is missing.")
	}
	m, err := t.Rename(p, to.unquoted())
	if err != nil {
		return err
	}
	if from := strings.Trim(p, "/"); from != m.Path {
		h.tell(r, Action{Name: "rename", Path: m.Path, From: from})
	}
	w.Header().Set("Location", location(r, m.Path))
	return answer(w, http.StatusOK, m)
}

func (h *handler) checkpoints(w http.ResponseWriter, r *http.Request, t *Tree, file, id string) error {
	switch {
	case id == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		list, err := t.Checkpoints(file)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, list)
	case id == "" && r.Method == http.MethodPost:
		c, err := t.CreateCheckpoint(file)
		if err != nil {
			return err
		}
		w.Header().Set("Location", location(r, strings.Trim(file, "/")+"/checkpoints/"+c.ID))
		return writeJSON(w, http.StatusCreated, c)
	case id != "" && r.Method == http.MethodPost:
		return noContent(w, t.RestoreCheckpoint(file, id))
	case id != "" && r.Method == http.MethodDelete:
		return noContent(w, t.DeleteCheckpoint(file, id))
	case id != "":
		return notAllowed(w, "POST, DELETE")
	}
	return notAllowed(w, "GET, HEAD, POST")
}

func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func created(w http.ResponseWriter, r *http.Request, m *Model) error {
	w.Header().Set("Location", location(r, m.Path))
	return answer(w, http.StatusCreated, m)
}

// location is the URL of a place. The prefix that was stripped from the request is found again in
// what the client really sent.
func location(r *http.Request, place string) string {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	prefix, ok := strings.CutSuffix(asked, r.URL.EscapedPath())
	if !ok {
		prefix = ""
	}
	return prefix + "/api/contents/" + escapePath(place)
}

func escapePath(place string) string {
	parts := strings.Split(place, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}

func answer(w http.ResponseWriter, status int, m *Model) error {
	head, content, err := m.parts()
	if err != nil {
		return err
	}
	w.Header().Set("Last-Modified", time.Time(m.LastModified).UTC().Format(http.TimeFormat))
	w.Header().Set("Content-Length", strconv.Itoa(len(head)+len(content)+1))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	for _, part := range [][]byte{head, content, {'}'}} { // not put together: it may be large
		_, _ = w.Write(part) // a client that went away needs no answer
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeBytes(w, status, out)
}

func writeBytes(w http.ResponseWriter, status int, out []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(out) // a client that went away needs no answer
	return nil
}
