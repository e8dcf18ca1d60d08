package acceptance

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// player is a session that counts, and what it must have counted. After a deed that was interrupted there may be two answers.
type player struct {
	kernel string
	may    []int
}

// torture is a seeded game: sessions are run, frozen, moved, kept, branched and gone back with, while the hub and containerd are killed.
type torture struct {
	*hub
	t       *testing.T
	r       *rand.Rand
	project string
	players []*player
	kept    map[string]keptCount // by checkpoint
	order   []string             // its keys, oldest first
	log     []string
}

type keptCount struct {
	player *player
	count  int
}

// number reads a number of the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestTorture: whatever is done to the server, each session is what it was, nothing runs twice, and the archive is whole. CELLAR_SEED=N plays
// another game, or one that failed again; CELLAR_TORTURE=SECONDS a longer one.
func TestTorture(t *testing.T) {
	seed := number("CELLAR_SEED", 1)
	h := startHub(t, "--store-after", "400ms", "--autosave", "2s")
	x := &torture{hub: h, t: t, r: rand.New(rand.NewPCG(uint64(seed), 0)), kept: map[string]keptCount{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("CELLAR_SEED=%d; the game: %v", seed, x.log)
		}
	})
	p, k := h.project("Torture")
	x.project = p
	s := h.Open(p, k)
	s.Exec("import os; pid = os.getpid(); n = 0; block = os.urandom(4 << 20); total = hash(block)")
	s.Close()
	x.players = []*player{{kernel: k, may: []int{0}}}
	for end := time.Now().Add(time.Duration(number("CELLAR_TORTURE", 40)) * time.Second); time.Now().Before(end) && !t.Failed(); {
		x.turn()
	}
	for _, p := range x.players {
		x.look(p)
	}
	for _, p := range x.players {
		h.MustRun(h.path(x.project, p.kernel, "hibernate"), nil, nil)
	}
	h.awaitStored(x.project)
	if left := len(processesOf(k)); left != 0 {
		t.Errorf("%d processes of hibernated sessions", left)
	}
	h.kill(syscall.SIGTERM)
	h.cli("vault", "verify", "--deep")
	t.Logf("%d turns, %d sessions, %d checkpoints", len(x.log), len(x.players), len(x.order))
}

// turn plays one deed, perhaps with bad luck in the middle of it.
func (x *torture) turn() {
	p := x.players[x.r.IntN(len(x.players))]
	luck := []string{"", "", "", "hub", "containerd"}[x.r.IntN(5)]
	deeds := []string{"cell", "cell", "hibernate", "move", "keep", "keep", "apply", "branch"}
	deed := deeds[x.r.IntN(len(deeds))]
	after := time.Duration(x.r.IntN(700)) * time.Millisecond
	x.log = append(x.log, fmt.Sprintf("%s %.4s %s+%s", deed, p.kernel, luck, after))
	switch deed {
	case "cell":
		if luck == "" {
			x.look(p)
			return
		}
		s := x.Open(x.project, p.kernel)
		s.Send("n += 1", "")
		x.strike(luck, after)
		s.Close()
		for _, n := range p.may { // it may not have reached the server
			p.may = append(p.may, n+1)
		}
	case "hibernate", "move":
		in := any(nil)
		path := x.path(x.project, p.kernel, "hibernate")
		if deed == "move" {
			path, in = x.path(x.project, p.kernel, "switch"), map[string]any{"configuration": "c1.2", "move": true}
		}
		x.deed(path, in, luck, after, nil)
	case "keep":
		x.look(p)
		count := p.may[0]
		x.deed("/api/v1/projects/"+x.project+"/checkpoints", map[string]string{"kernel": p.kernel, "name": "kept"}, luck, after, func(r map[string]any) {
			id := r["id"].(string)
			x.kept[id], x.order = keptCount{p, count}, append(x.order, id)
		})
	case "apply", "branch":
		x.back(deed, luck, after)
	}
	x.look(p)
}

// back applies a checkpoint, or makes a branch of it.
func (x *torture) back(deed, luck string, after time.Duration) {
	if len(x.order) == 0 || deed == "branch" && len(x.players) >= 4 {
		return
	}
	id := x.order[x.r.IntN(len(x.order))]
	c := x.kept[id]
	path := "/api/v1/projects/" + x.project + "/checkpoints/" + id + "/" + deed
	done := false
	x.deed(path, map[string]any{}, luck, after, func(r map[string]any) {
		done = true
		if deed == "branch" {
			x.players = append(x.players, &player{kernel: r["kernel"].(string), may: []int{c.count}})
		}
	})
	switch {
	case deed == "branch": // one that nobody was told of may be there and is nobody's loss
	case done:
		c.player.may = []int{c.count}
	default:
		c.player.may = append(c.player.may, c.count)
	}
	if deed == "apply" {
		x.look(c.player)
	}
}

// deed asks for something and has bad luck strike while it is done; then is called when it is known to have ended well. Without bad luck it must.
func (x *torture) deed(path string, in any, luck string, after time.Duration, then func(response map[string]any)) {
	if luck == "" {
		var r map[string]any
		x.MustRun(path, in, &r)
		if then != nil {
			then(r)
		}
		return
	}
	status, b, err := x.Try("POST", path, in)
	if err != nil || status != 202 {
		x.t.Fatalf("%s: %d %s %v", path, status, b, err)
	}
	x.strike(luck, after)
	if luck == "hub" {
		return // it has forgotten the operation
	}
	if o := x.Await(idOf(b)); o.Error == nil && then != nil {
		var r map[string]any
		if err := json.Unmarshal(o.Response, &r); err != nil {
			x.t.Fatal(err)
		}
		then(r)
	}
}

// strike kills a part of the server after a while.
func (x *torture) strike(luck string, after time.Duration) {
	time.Sleep(after)
	switch luck {
	case "hub":
		x.kill(syscall.SIGKILL)
		x.start()
	case "containerd":
		if pid := x.containerd(); pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		eventually(x.t, "containerd is back", func() bool { status, _, err := x.Try("GET", "/readyz", nil); return err == nil && status == 200 })
	}
}

// look runs a cell, which must find everything as it was.
func (x *torture) look(p *player) {
	var v view
	eventually(x.t, "the kernel is one thing", func() bool {
		v = x.view(p)
		return v.State == "running" || v.State == "hibernated" || v.State == "dead"
	})
	if v.State == "dead" {
		x.t.Fatalf("kernel %.4s is dead: %s", p.kernel, v.StateDetail)
	}
	s := x.Open(x.project, p.kernel)
	defer s.Close()
	got := s.Exec("n += 1; n, os.getpid() == pid, hash(block) == total")
	for _, n := range p.may {
		if got == fmt.Sprintf("(%d, True, True)", n+1) {
			p.may = []int{n + 1}
			return
		}
	}
	x.t.Fatalf("kernel %.4s says %s, and it counted to one of %v", p.kernel, got, p.may)
}

func (x *torture) view(p *player) view { return x.kernel(x.project, p.kernel) }
