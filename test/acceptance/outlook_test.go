package acceptance

import (
	"database/sql"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	_ "github.com/mattn/go-sqlite3"
)

// TestOtherProcessor: a state that needs what this machine's processor does not
// have is not thawed, the reason is told, and the doctor knows before.
func TestOtherProcessor(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Elsewhere")
	h.Open(p, k).Exec("x = 41")
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]any{"kernel": k, "variables": true}, nil)
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	doctor := func() string {
		t.Helper()
		out, _ := exec.Command(binary(), "doctor", "--data", h.data).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, " checkpoints ") {
				return line
			}
		}
		t.Fatalf("no word on checkpoints: %s", out)
		return ""
	}
	if got := doctor(); !strings.HasPrefix(got, "ok ") || !strings.Contains(got, "2 of 2 can be") {
		t.Errorf("the doctor: %s", got)
	}
	h.kill(syscall.SIGTERM)
	db, err := sql.Open("sqlite3", filepath.Join(h.data, "cellar.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE origins SET body = json_set(body, '$.features', json('["avx2048f"]'))`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got := doctor(); !strings.HasPrefix(got, "warn ") || !strings.Contains(got, "1 of 2 can be brought back on this machine; 1 cannot: another processor") {
		t.Errorf("the doctor, on another machine: %s", got)
	}
	h.start()
	o := h.Run(h.path(p, k, "resume"), nil)
	if o.Error == nil || o.Error.Code != "other_processor" || !strings.Contains(o.Error.Detail, "a processor with avx2048f, which this machine's does not have") {
		t.Errorf("resumed: %+v", o.Error)
	}
	if v := h.kernel(p, k); v.State != "hibernated" {
		t.Errorf("the kernel is %s", v.State)
	}
	// The variables go anywhere.
	var list struct {
		Items []struct{ ID, Kind string }
	}
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list)
	for _, c := range list.Items {
		if c.Kind == "variables" {
			h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c.ID+"/apply", map[string]any{}, nil)
		}
	}
	if got := h.Open(p, k).Exec("x"); got != "41" {
		t.Errorf("x is %s", got)
	}
}
