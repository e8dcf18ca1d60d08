//go:build vm

package probe

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The storm: states are kept, stored, collected, gone back to, put to sleep and
// woken, over and over, until the power is cut at some moment. What was answered
// for is written down on the same disk, after the answer and for good, and is
// looked at after the next start.

const (
	ackedFile = "/var/lib/probe/acked"
	stormFor  = 90 * time.Second // should nobody cut the power
	stormKeep = 6                // checkpoints; older ones are deleted, for there to be something to collect
)

// acked is a checkpoint that was answered for, and what x is in it.
type acked struct {
	id string
	x  int
}

func readAcked(b *bench) (list []acked) {
	text, err := os.ReadFile(ackedFile)
	if err != nil && !os.IsNotExist(err) {
		b.T.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var a acked
		if n, _ := fmt.Sscan(line, &a.id, &a.x); n == 2 {
			list = append(list, a)
		}
	}
	return list
}

// writeAcked is through when a power cut cannot undo it.
func writeAcked(b *bench, list []acked) {
	var text bytes.Buffer
	for _, a := range list {
		fmt.Fprintln(&text, a.id, a.x)
	}
	if err := os.MkdirAll(filepath.Dir(ackedFile), 0o755); err != nil {
		b.T.Fatal(err)
	}
	f, err := os.Create(ackedFile + ".new")
	if err != nil {
		b.T.Fatal(err)
	}
	if _, err := f.Write(text.Bytes()); err != nil {
		b.T.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.T.Fatal(err)
	}
	f.Close()
	if err := os.Rename(ackedFile+".new", ackedFile); err != nil {
		b.T.Fatal(err)
	}
	d, err := os.Open(filepath.Dir(ackedFile))
	if err != nil {
		b.T.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		b.T.Fatal(err)
	}
}

// vaultIsWhole reads all that is stored, before any hub has touched it.
func vaultIsWhole(b *bench) string {
	out, err := exec.Command("cellar", "vault", "verify", "--deep", "--data", data).CombinedOutput()
	if err != nil {
		b.T.Errorf("cellar vault verify: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// stormProject finds or makes the project of the storm.
func stormProject(b *bench) {
	b.project = "storm"
	if status, _ := b.Do("GET", "/api/v1/projects/storm", nil, nil); status == 404 {
		b.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Storm"}, nil)
	}
	var s struct{ Kernel struct{ ID string } }
	b.Want(201, "POST", "/projects/storm/api/sessions", map[string]any{
		"path": "tour.ipynb", "name": "tour.ipynb", "type": "notebook", "kernel": map[string]string{"name": "python3"},
	}, &s)
	b.kernel = s.Kernel.ID
	b.socket = b.open(b.kernel)
}

// ackedAreThere: every checkpoint that was answered for is listed, and can be gone
// back to.
func ackedAreThere(b *bench) string {
	list := readAcked(b)
	if len(list) == 0 {
		return "none was answered for yet"
	}
	stormProject(b)
	var have struct{ Items []struct{ ID string } }
	b.Want(200, "GET", "/api/v1/projects/storm/checkpoints", nil, &have)
	there := map[string]bool{}
	for _, c := range have.Items {
		there[c.ID] = true
	}
	for _, a := range list {
		if !there[a.id] {
			b.T.Errorf("checkpoint %s, x = %d, is gone", a.id, a.x)
			continue
		}
		b.MustRun("/api/v1/projects/storm/checkpoints/"+a.id+"/apply", map[string]any{}, nil)
		b.says("x, sum(ballast) == len(ballast) * (x % 251)", fmt.Sprintf("(%d, True)", a.x))
	}
	return fmt.Sprintf("%d checkpoints, each gone back to", len(list))
}

// storm works until the power is cut.
func storm(b *bench) string {
	list := readAcked(b)
	stormProject(b)
	x := 0
	if len(list) > 0 {
		x = list[len(list)-1].x
	}
	began := x
	for until := time.Now().Add(stormFor); time.Now().Before(until); {
		x++
		b.socket.Exec(fmt.Sprintf("x = %d; ballast = bytes([x %% 251]) * (8 << 20)", x))
		var c struct{ ID string }
		b.MustRun("/api/v1/projects/storm/checkpoints", map[string]any{"kernel": b.kernel, "name": fmt.Sprint(x)}, &c)
		list = append(list, acked{c.ID, x})
		writeAcked(b, list)
		if x == began+1 { // from here on the power may be cut: there is something to lose
			fmt.Println("probe: storm")
		}
		if len(list) > stormKeep {
			old := list[0]
			list = list[1:]
			writeAcked(b, list) // it may go from here on
			b.Do("DELETE", "/api/v1/projects/storm/checkpoints/"+old.id, nil, nil)
		}
		switch x % 3 {
		case 0:
			b.MustRun("/api/v1/projects/storm/checkpoints/"+list[0].id+"/apply", map[string]any{}, nil)
			b.says("x", fmt.Sprint(list[0].x))
		case 1:
			b.MustRun(b.path("hibernate"), nil, nil)
			b.says("x", fmt.Sprint(x))
		}
	}
	return "nobody cut the power"
}
