package server

import (
	"encoding/json"
	"net/http"
	"slices"

	"cellar/internal/fault"
)

// permissions are what whoever may open a project may do there, in Jupyter's words.
var permissions = map[string][]string{
	"api": {"read"}, "config": {"read", "write"}, "contents": {"read", "write"}, "events": {"read", "write"},
	"kernels": {"read", "write", "execute"}, "kernelspecs": {"read"}, "nbconvert": {"read", "write"}, "server": {"read"},
	"sessions": {"read", "write"}, "terminals": {"read", "write", "execute"},
}

// permitted answers a question for permissions: of the actions asked for those that are allowed. Without
// a question it is all there are.
func permitted(question string) (map[string][]string, error) {
	if question == "" {
		return permissions, nil
	}
	var asked map[string][]string
	if err := json.Unmarshal([]byte(question), &asked); err != nil || asked == nil {
		return nil, fault.New(fault.Invalid, "bad_permissions", "The permissions asked for are to be a JSON object of lists of actions.")
	}
	out := make(map[string][]string, len(asked))
	for resource, actions := range asked {
		out[resource] = []string{}
		for _, a := range actions {
			if slices.Contains(permissions[resource], a) {
				out[resource] = append(out[resource], a)
			}
		}
	}
	return out, nil
}

// me answers who asks.
func (s *Server) me(w http.ResponseWriter, r *http.Request) {
	may, err := permitted(r.URL.Query().Get("permissions"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	u, _ := Who(r.Context())
	writeJSON(w, map[string]any{
		"identity": map[string]any{
			"username": u.Name, "name": u.Name, "display_name": u.Name, "initials": initials(u.Name), "avatar_url": nil, "color": nil,
		},
		"permissions": may,
	})
}
