package server

import (
	"net/http"
	"path"
	"strings"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Where a kernel has the project's files, and its home.
const (
	kernelFiles = "/project"
	kernelHome  = "/home/cellar"
)

type resolved struct {
	Scope string `json:"scope"` // server: a path of the contents API; kernel: one of the kernel's
	Path  string `json:"path"`
}

type unresolved struct {
	Scope  string `json:"scope"`
	Reason string `json:"reason"`
}

// maxResolve bounds a path that is asked about, in bytes.
const maxResolve = 4096

// resolvePath tells where a file is that a kernel names, in a traceback for
// example: among the project's files, or only for the kernel. A relative path
// begins at the kernel's folder, and without a kernel at the top. A place that
// only the kernel sees is not looked at: that would wake a kernel that sleeps.
func (s *Server) resolvePath(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	p := q.Get("path")
	if p == "" || len(p) > maxResolve || strings.ContainsRune(p, 0) {
		return fault.Newf(fault.Invalid, "bad_path", "path is missing, or longer than %d bytes.", maxResolve)
	}
	answers := struct {
		Resolved   []resolved   `json:"resolved"`
		Unresolved []unresolved `json:"unresolved"`
	}{[]resolved{}, []unresolved{}}
	dir, known := "", false
	if id := q.Get("kernel"); id == "" {
		answers.Unresolved = append(answers.Unresolved, unresolved{"kernel", "No kernel was named."})
	} else if l, err := s.hub.Live(projectOf(r).ID, kernel.ID(id)); err != nil {
		answers.Unresolved = append(answers.Unresolved, unresolved{"kernel", fault.Sentence(err)})
	} else {
		dir, known = l.Record().Dir, true
	}
	full := absolute(p, dir)
	tree, err := s.tree(r)
	if err != nil {
		return err
	}
	if place, ours := below(full, kernelFiles); ours && tree.Exists(place) {
		answers.Resolved = append(answers.Resolved, resolved{"server", place})
	} else {
		answers.Unresolved = append(answers.Unresolved, unresolved{"server", "It is not among the project's files."})
	}
	if _, ours := below(full, kernelFiles); known && !ours {
		answers.Resolved = append(answers.Resolved, resolved{"kernel", full})
	} else if known {
		answers.Unresolved = append(answers.Unresolved, unresolved{"kernel", "The kernel has there what the project's files have."})
	}
	return answer(w, answers)
}

// absolute is a path as the kernel would find it; dir is its folder below the
// project's files.
func absolute(p, dir string) string {
	switch {
	case strings.HasPrefix(p, "/"):
		return path.Clean(p)
	case p == "~" || strings.HasPrefix(p, "~/"):
		return path.Join(kernelHome, p[1:])
	}
	return path.Join(kernelFiles, dir, p)
}

// below takes a folder off a path that is in it.
func below(full, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(full, dir)
	return strings.TrimPrefix(rest, "/"), ok && (rest == "" || rest[0] == '/')
}
