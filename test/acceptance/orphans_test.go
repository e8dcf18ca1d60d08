package acceptance

import (
	"regexp"
	"testing"
)

// TestOrphansInATerminal: what a shell leaves behind ends without a trace, also
// beside a shell that has exited while a job of it holds its terminal open.
func TestOrphansInATerminal(t *testing.T) {
	h := startHub(t)
	var p, other, m struct{ ID, Name string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Orphans"}, &p)
	h.Want(200, "POST", "/projects/"+p.ID+"/api/terminals", nil, &other)
	ws := h.terminal(p.ID, other.Name)
	// The quotes keep the echo of the command from being taken for its output.
	ws.WriteJSON([]any{"stdin", "setsid -f sleep 600; echo le''aving; exit 5\r"})
	await(t, ws, regexp.MustCompile(`leaving`))
	h.Want(200, "POST", "/projects/"+p.ID+"/api/terminals", nil, &m)
	ws = h.terminal(p.ID, m.Name)
	ws.WriteJSON([]any{"stdin", "for i in $(seq 40); do (sh -c 'sleep 0.1 & exit 0'); done; echo le''ft $?\r"})
	await(t, ws, regexp.MustCompile(`left 0`))
	// The shell of the other terminal may be a zombie; of all sleeps only its job's is left.
	ws.WriteJSON([]any{"stdin", "until [ $(cat /proc/[0-9]*/stat 2>/dev/null | grep -c '(sleep)') = 1 ]; do :; done; echo rea''ped\r"})
	await(t, ws, regexp.MustCompile(`reaped`))
	ws.WriteJSON([]any{"stdin", "sh -c 'exit 7'; echo sta''tus $?\r"})
	await(t, ws, regexp.MustCompile(`status 7`))
}
