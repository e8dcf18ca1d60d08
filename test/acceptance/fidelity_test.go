package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"cellar/internal/testkit"
)

// wholeDeeds are what is done to a session that has all things; each gives the kernel
// that has them afterwards.
var wholeDeeds = []struct {
	name string
	do   func(h *hub, p, k string, between func()) (kernel string)
}{
	{"hibernate", func(h *hub, p, k string, _ func()) string {
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
		return k
	}},
	{"apply", func(h *hub, p, k string, between func()) string {
		c := h.keepNow(p, k)
		between()
		h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+c+"/apply", map[string]any{}, nil)
		return k
	}},
	{"branch", func(h *hub, p, k string, between func()) string {
		c := h.keepNow(p, k)
		between()
		return h.branch(p, c).Kernel
	}},
	{"move", func(h *hub, p, k string, _ func()) string {
		h.MustRun(h.path(p, k, "switch"), map[string]any{"configuration": "c1.2", "move": true}, nil)
		return k
	}},
}

func (h *hub) keepNow(project, kernel string) string {
	h.t.Helper()
	var c kept
	h.MustRun("/api/v1/projects/"+project+"/checkpoints", map[string]string{"kernel": kernel, "name": "then"}, &c)
	return c.ID
}

// have has a session make the things and asks for each a first time.
func have(t *testing.T, s *testkit.Socket, list []thing) {
	t.Helper()
	if got := s.Exec(prelude); got != "" {
		t.Fatal(got)
	}
	for i, th := range list {
		// What it leaves in the namespace is noted for the pickles.
		code := "_before = set(globals())" + th.setup + fmt.Sprintf("\n_names[%d] = sorted(n for n in set(globals()) - _before if n[0] != '_')\nNone", i)
		if got := s.Exec(code); got != "" {
			t.Errorf("%s: made: %s", th.name, got)
		}
	}
	for _, th := range list {
		if got := s.Exec(th.check); got != "True" {
			t.Errorf("%s: before anything was done: %s", th.name, got)
		}
	}
}

// whole holds what a session has to the table.
func whole(t *testing.T, s *testkit.Socket, deed string, list []thing) {
	t.Helper()
	for _, th := range list {
		if got, want := s.Exec(th.check), th.after(deed); !is(got, want) {
			t.Errorf("%s, after %s: %s, want %s", th.name, deed, got, want)
		}
	}
}

// is compares an answer with the table, which has the beginning of an error.
func is(got, want string) bool {
	return got == want || want != "True" && strings.HasPrefix(got, want)
}

// TestFidelity: what a session has is there after a hibernation, after going back,
// in a branch and after a move, as the table says, no less and no more.
func TestFidelity(t *testing.T) {
	h := startHub(t)
	outside(t, "[c.sendall(b) for b in iter(lambda: c.recv(100), b'')]")
	for _, deed := range wholeDeeds {
		t.Run(deed.name, func(t *testing.T) {
			h.T, h.t = t, t
			list := thingsFor(deed.name)
			p, k := h.project(deed.name)
			first := h.Open(p, k)
			have(t, first, list)
			kernel := deed.do(h, p, k, func() {
				for _, th := range list {
					first.Exec(th.check) // on its way
				}
				if deed.name == "apply" {
					first.Exec("%reset -f")
				}
			})
			s := h.Open(p, kernel)
			whole(t, s, deed.name, list)
			if kernel != k { // and the one it came from has noticed nothing
				whole(t, first, "a branch that goes on beside it", list)
			}
			h.Want(204, "DELETE", "/api/v1/projects/"+p, nil, nil)
		})
	}
	t.Run("pickle", func(t *testing.T) {
		h.T, h.t = t, t
		fromPickles(t, h)
	})
}

// thingsFor leaves out what only one session can hold, where two run.
func thingsFor(deed string) (list []thing) {
	for _, th := range things {
		if !strings.HasPrefix(th.seen[deed], refused) {
			list = append(list, th)
		}
	}
	return list
}

// fromPickles holds the table to what becomes of things when cloudpickle saves all of
// their variables, each thing's in one pickle, and a new kernel loads them.
func fromPickles(t *testing.T, h *hub) {
	p, k := h.project("Pickle")
	s := h.Open(p, k)
	have(t, s, things)
	s.Exec(`
def _save(i):
    try: open(f'/project/{i}.pickle', 'wb').write(cloudpickle.dumps({n: globals()[n] for n in _names[i]})); print(True)
    except Exception as e: print(f'{type(e).__name__}: {e}')`)
	said := make([]string, len(things))
	for i := range things {
		said[i] = strings.TrimSpace(s.Exec(fmt.Sprintf("_save(%d)", i)))
	}
	h.Want(204, "DELETE", "/projects/"+p+"/api/kernels/"+k, nil, nil)
	s = h.Open(p, h.session(p, "tour.ipynb"))
	s.Exec(prelude)
	for i, th := range things {
		if said[i] == "True" {
			if said[i] = s.Exec(fmt.Sprintf("globals().update(cloudpickle.loads(open('/project/%d.pickle', 'rb').read()))", i)); said[i] == "" {
				said[i] = s.Exec(th.check)
			}
		}
		if want := th.after("pickle"); !is(said[i], want) {
			t.Errorf("%s, from a pickle: %s, want %s", th.name, said[i], want)
		}
	}
}

// outside is the world as kernels see it: a namespace with an address of the range
// for examples, 198.51.100.2, where a Python server on port 7000 does this to each
// connection c from an address a, then closes it.
func outside(t *testing.T, serve string) {
	t.Helper()
	ns := "celtest" + fmt.Sprint(os.Getpid())
	script := fmt.Sprintf("ip netns add %s && ip link add %.8sh type veth peer name %.8sw netns %s && ip addr add 198.51.100.1/24 dev %.8sh && ip link set %.8sh up && ip -n %s addr add 198.51.100.2/24 dev %.8sw && ip -n %s link set %.8sw up",
		ns, ns[3:], ns[3:], ns, ns[3:], ns[3:], ns, ns[3:], ns, ns[3:])
	t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	code := "import socket, threading\ns = socket.create_server(('198.51.100.2', 7000))\nprint('up', flush=True)\n" +
		"def serve(c, a):\n  with c: " + serve + "\nwhile True: threading.Thread(target=serve, args=s.accept(), daemon=True).start()"
	world := exec.Command("nsenter", "--net=/run/netns/"+ns, "python3", "-c", code)
	up, err := world.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := world.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { world.Process.Kill(); world.Wait() })
	up.Read(make([]byte, 3))
}
