package kernels

import (
	"net/http"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/wire"
	"cellar/server/hub"
)

type (
	kernelChannel = wire.Channel
	kernelMessage = wire.Message
)

func (h *handler) sessionModel(s hub.Session) map[string]any {
	m := map[string]any{"id": s.ID, "path": s.Path, "name": s.Name, "type": s.Type, "kernel": nil}
	if l, err := h.Hub.Live(s.Project, s.Kernel); err == nil {
		m["kernel"] = model(l.View())
	}
	if s.Type == "notebook" {
		m["notebook"] = map[string]any{"path": s.Path, "name": s.Name}
	}
	return m
}

func (h *handler) sessions(w http.ResponseWriter, r *http.Request) error {
	list, err := h.Hub.Store.Sessions(r.Context(), h.Project(r).ID)
	if err != nil {
		return err
	}
	out := []any{}
	for _, s := range list {
		if m := h.sessionModel(s); m["kernel"] != nil {
			out = append(out, m)
		}
	}
	return answer(w, http.StatusOK, out)
}

type sessionBody struct {
	Path     *string `json:"path"`
	Name     *string `json:"name"`
	Type     *string `json:"type"`
	Notebook *struct {
		Path string `json:"path"`
	} `json:"notebook"`
	Kernel *struct {
		ID            *string `json:"id"`
		Name          *string `json:"name"`
		Configuration string  `json:"configuration"`
	} `json:"kernel"`
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (h *handler) openSession(w http.ResponseWriter, r *http.Request) error {
	var in sessionBody
	if err := read(r, &in); err != nil {
		return err
	}
	s := hub.Session{Path: orEmpty(in.Path), Name: orEmpty(in.Name), Type: orEmpty(in.Type)}
	if in.Notebook != nil && s.Path == "" {
		s.Path, s.Type = in.Notebook.Path, "notebook"
	}
	if s.Path == "" || len(s.Path) > 4096 {
		return fault.New(fault.Invalid, "path_missing", "A session needs a path.")
	}
	if s.Type == "" {
		return fault.New(fault.Invalid, "type_missing", "A session needs a type.")
	}
	var id, spec, configuration string
	if in.Kernel != nil {
		id, spec, configuration = orEmpty(in.Kernel.ID), orEmpty(in.Kernel.Name), in.Kernel.Configuration
	}
	if _, err := h.Hub.Spec(spec); id == "" && fault.CodeOf(err) == "unknown_kernel" {
		// Jupyter answers an unknown kernel with 501 and these two texts; the lab shows them.
		return answer(w, http.StatusNotImplemented, map[string]any{
			"message": "There is no kernel \"" + spec + "\" on this server.", "short_message": "No such kernel",
		})
	}
	s, err := h.Hub.OpenSession(r.Context(), h.Project(r), s, kernel.ID(id), spec, configuration)
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.Base(r)+"api/sessions/"+s.ID)
	return answer(w, http.StatusCreated, h.sessionModel(s))
}

func (h *handler) session(w http.ResponseWriter, r *http.Request) error {
	s, err := h.Hub.Session(r.Context(), h.Project(r).ID, r.PathValue("id"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, h.sessionModel(s))
}

func (h *handler) changeSession(w http.ResponseWriter, r *http.Request) error {
	var in sessionBody
	if err := read(r, &in); err != nil {
		return err
	}
	spec := ""
	s, err := h.Hub.ChangeSession(r.Context(), h.Project(r), r.PathValue("id"), func(s *hub.Session) {
		for to, from := range map[*string]*string{&s.Path: in.Path, &s.Name: in.Name, &s.Type: in.Type} {
			if from != nil {
				*to = *from
			}
		}
		if in.Kernel != nil {
			switch {
			case in.Kernel.ID != nil:
				s.Kernel = kernel.ID(*in.Kernel.ID)
			case in.Kernel.Name != nil:
				s.Kernel, spec = "", *in.Kernel.Name
			}
		}
	}, &spec)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, h.sessionModel(s))
}

func (h *handler) closeSession(w http.ResponseWriter, r *http.Request) error {
	if err := h.Hub.CloseSession(r.Context(), h.Project(r).ID, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
