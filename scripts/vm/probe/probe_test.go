//go:build vm

// Package probe looks at an installed Cellar from inside a virtual machine with
// control groups of version 2 (scripts/test-vm.sh). It is a test binary to use
// what the acceptance tests use; the host counts its PASS and FAIL lines.
package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cellar/internal/testkit"
)

const (
	base = "http://127.0.0.1:8888"
	data = "/var/lib/cellar"
	root = "/sys/fs/cgroup"
)

// look is a step: it returns what it saw.
type look struct {
	name string
	do   func(*bench) string
	must bool // nothing can be seen without it
}

// bench is what the steps hand on.
type bench struct {
	*testkit.Client
	whole           *testing.T // of all steps
	project, kernel string
	socket          *testkit.Socket
}

func TestVM(t *testing.T) {
	var steps []look
	switch phase := os.Getenv("CELLAR_PHASE"); phase {
	case "before":
		steps = []look{
			{"control groups of version 2", version2, false},
			{"the service starts", start, true},
			{"doctor", doctor, false},
			{"a kernel starts", kernel, true},
			{"a kernel's use is measured", usage, false},
			{"switch in place", inPlace, false},
			{"move", move, false},
			{"hibernate and resume", hibernate, false},
			{"a published cell is called", node, false},
			{"hibernated before the power cut", freeze, false},
		}
	case "after":
		steps = []look{{"the service starts after the power cut", start, true}, {"variables outlive the power cut", outlived, false}}
	case "storm":
		steps = []look{{"the vault is whole", vaultIsWhole, false}, {"the service starts in the storm", start, true}, {"what was answered for is there", ackedAreThere, false}, {"storm", storm, false}}
	case "calm":
		steps = []look{{"the vault is whole after the storm", vaultIsWhole, false}, {"the service starts after the storm", start, true}, {"all that was answered for is there", ackedAreThere, false}}
	default:
		t.Fatalf("CELLAR_PHASE is %q", phase)
	}
	b := &bench{Client: &testkit.Client{Base: base}, whole: t}
	for _, s := range steps {
		begin, seen := time.Now(), ""
		ok := t.Run(s.name, func(t *testing.T) {
			b.T = t
			defer func() {
				word := "PASS"
				if t.Failed() {
					word = "FAIL"
				}
				fmt.Printf("%s %s (%.1f s): %s\n", word, s.name, time.Since(begin).Seconds(), seen)
			}()
			seen = s.do(b)
		})
		if !ok && s.must {
			return
		}
	}
}

func version2(b *bench) string {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		b.T.Fatal(err)
	}
	if st.Type != unix.CGROUP2_SUPER_MAGIC {
		b.T.Fatalf("%s is of type %#x", root, st.Type)
	}
	return read(b, filepath.Join(root, "cgroup.controllers"))
}

// start starts the service as an operator does and signs in.
func start(b *bench) string {
	if out, err := exec.Command("systemctl", "start", "cellar").CombinedOutput(); err != nil {
		b.T.Fatalf("systemctl start: %v: %s", err, out)
	}
	until(b, 4*time.Minute, "/readyz is 200", func() bool {
		status, _, err := b.Try("GET", "/readyz", nil)
		return err == nil && status == 200
	})
	out, err := exec.Command("cellar", "token", "--data", data).Output()
	if err != nil {
		b.T.Fatal(err)
	}
	b.Token = strings.TrimSpace(string(out))
	return "ready"
}

// doctor shows the hub's own list. The archive of the image is not on this
// disk, only what came of importing it.
func doctor(b *bench) string {
	var list struct {
		Items []struct{ Code, Status, Title, Detail string }
	}
	b.Want(200, "GET", "/api/v1/doctor", nil, &list)
	bad := 0
	for _, f := range list.Items {
		fmt.Printf("      %-5s %-16s %s: %s\n", f.Status, f.Code, f.Title, f.Detail)
		switch f.Code {
		case "cgroups":
			if !strings.HasPrefix(f.Detail, "version 2 ") {
				b.T.Errorf("control groups: %s", f.Detail)
			}
			fallthrough
		case "criu", "overlayfs", "user_namespaces", "tools", "network", "proc_views":
			if f.Status != "ok" {
				b.T.Errorf("%s: %s", f.Code, f.Detail)
			}
		}
		if f.Status != "ok" {
			bad++
		}
	}
	if len(list.Items) == 0 {
		b.T.Error("no findings")
	}
	return fmt.Sprintf("%d findings, %d not ok", len(list.Items), bad)
}

func kernel(b *bench) string {
	var p struct{ ID string }
	b.Want(201, "POST", "/api/v1/projects", map[string]string{"name": "Machine"}, &p)
	var s struct{ Kernel struct{ ID string } }
	b.Want(201, "POST", "/projects/"+p.ID+"/api/sessions", map[string]any{
		"path": "tour.ipynb", "name": "tour.ipynb", "type": "notebook", "kernel": map[string]string{"name": "python3"},
	}, &s)
	b.project, b.kernel = p.ID, s.Kernel.ID
	until(b, 4*time.Minute, "the kernel runs", func() bool { return b.view().State == "running" })
	b.socket = b.open(b.kernel)
	b.says("import os; x = 41; pid = os.getpid(); x + 1", "42")
	return "x = 41; limits " + limits(b)
}

// limits are those of the control group that the kernel's processes are in.
func limits(b *bench) string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		b.T.Fatal(err)
	}
	groups := map[string]bool{}
	for _, e := range entries {
		if text, err := os.ReadFile("/proc/" + e.Name() + "/cgroup"); err == nil && strings.Contains(string(text), b.kernel) {
			groups[strings.TrimPrefix(strings.TrimSpace(string(text)), "0::")] = true
		}
	}
	if len(groups) != 1 {
		b.T.Fatalf("the kernel is in the control groups %v", groups)
	}
	var out []string
	for group := range groups {
		for _, name := range []string{"cpu.max", "cpuset.cpus", "memory.max", "pids.max"} {
			out = append(out, name+"="+read(b, filepath.Join(root, group, name)))
		}
	}
	return strings.Join(out, " ")
}

// open opens a kernel's channels for all steps to come.
func (b *bench) open(kernel string) *testkit.Socket {
	step := b.T
	b.T = b.whole
	defer func() { b.T = step }()
	return b.Open(b.project, kernel)
}

func (b *bench) says(code, want string) {
	b.T.Helper()
	if got := b.socket.Exec(code); got != want {
		b.T.Fatalf("%s: %q, want %q", code, got, want)
	}
}

type view struct {
	ID, State, Configuration string
	CPU                      float64 `json:"cpu_percent"`
	Memory                   int64   `json:"memory_bytes"`
	Limit                    int64   `json:"memory_limit"`
}

func (b *bench) view() view {
	var list struct{ Items []view }
	b.Want(200, "GET", "/api/v1/projects/"+b.project+"/kernels", nil, &list)
	for _, k := range list.Items {
		if k.ID == b.kernel {
			return k
		}
	}
	b.T.Fatalf("kernel %s is not listed", b.kernel)
	return view{}
}

func (b *bench) path(deed string) string {
	return "/api/v1/projects/" + b.project + "/kernels/" + b.kernel + "/" + deed
}

func usage(b *bench) string {
	var before view
	until(b, time.Minute, "its memory is known", func() bool { before = b.view(); return before.Memory > 0 })
	b.socket.Exec("ballast = bytearray(os.urandom(1)) * (128 << 20)\nfor n in range(3000000): pass")
	var v view
	until(b, time.Minute, "128 MiB and some work are seen", func() bool {
		v = b.view()
		return v.Memory > before.Memory+100<<20 && v.Limit > 0
	})
	b.socket.Exec("del ballast")
	return fmt.Sprintf("%d -> %d MiB of %d", before.Memory>>20, v.Memory>>20, v.Limit>>20)
}

// inside is what the kernel itself sees of the machine.
const inside = "len(os.sched_getaffinity(0)), int(open('/proc/meminfo').readline().split()[1]) // 1024, x, os.getpid() == pid"

// configuration asks for another configuration, and then checks it inside and out.
func configuration(b *bench, name string, move bool, then func()) string {
	var all struct {
		Items []struct {
			Name   string
			CPUs   int
			Memory int64
		}
	}
	b.Want(200, "GET", "/api/v1/configurations", nil, &all)
	begin := time.Now()
	b.MustRun(b.path("switch"), map[string]any{"configuration": name, "move": move}, nil)
	took := time.Since(begin)
	then()
	for _, c := range all.Items {
		if c.Name != name {
			continue
		}
		b.says(inside, fmt.Sprintf("(%d, %d, 41, True)", c.CPUs, c.Memory>>20))
		now := limits(b)
		// The operating system counts memory in pages.
		for _, want := range []string{fmt.Sprintf("cpu.max=%d 100000", c.CPUs*100000), "memory.max=" + strconv.FormatInt(c.Memory&^4095, 10)} {
			if !strings.Contains(now, want) {
				b.T.Errorf("%s is not in %s", want, now)
			}
		}
		return fmt.Sprintf("the switch %.1f s; %s", took.Seconds(), now)
	}
	b.T.Fatalf("no configuration %s in %+v", name, all.Items)
	return ""
}

func inPlace(b *bench) string { return configuration(b, "c1.2", false, func() {}) }

// move freezes the process while a cell prints, and thaws it in a new container.
func move(b *bench) string {
	id := b.socket.Send("import time\nfor n in range(200): print(n); time.sleep(.02)", "away")
	time.Sleep(500 * time.Millisecond)
	return configuration(b, "c1.1", true, func() {
		var want strings.Builder
		for n := range 200 {
			fmt.Fprintln(&want, n)
		}
		if got := b.socket.Wait(id); got != want.String() {
			b.T.Errorf("lines were lost or doubled: %q", got)
		}
	})
}

func hibernate(b *bench) string {
	begin := time.Now()
	b.MustRun(b.path("hibernate"), nil, nil)
	frozen := time.Since(begin)
	if v := b.view(); v.State != "hibernated" {
		b.T.Fatalf("the kernel is %s", v.State)
	}
	begin = time.Now()
	b.says("x + 1, os.getpid() == pid", "(42, True)")
	return fmt.Sprintf("frozen in %.1f s, a cell wakes it in %.1f s", frozen.Seconds(), time.Since(begin).Seconds())
}

// node publishes a cell and calls it with its key.
func node(b *bench) string {
	const path = "tour.ipynb"
	contents := "/projects/" + b.project + "/api/contents/" + path
	var model struct{ Content map[string]any }
	b.Want(200, "GET", contents+"?content=1", nil, &model)
	cells, _ := model.Content["cells"].([]any)
	model.Content["cells"] = append(cells, map[string]any{
		"id": "twice", "cell_type": "code", "metadata": map[string]any{}, "source": "answer = times(number)", "outputs": []any{}, "execution_count": nil,
	})
	b.Want(200, "PUT", contents, map[string]any{"type": "notebook", "format": "json", "content": model.Content}, nil)
	b.socket.Exec("times = lambda n: n * 41; number = 2")
	b.socket.Wait(b.socket.Send("answer = times(number)", "twice"))
	source := map[string]string{"notebook": path, "cell": "twice"}
	var d struct{ Inputs, Outputs json.RawMessage }
	b.Want(200, "POST", "/api/v1/projects/"+b.project+"/nodes/describe", source, &d)
	var n struct{ ID, URL, Key string }
	begin := time.Now()
	b.MustRun("/api/v1/projects/"+b.project+"/nodes", map[string]any{"name": "twice", "source": source, "inputs": d.Inputs, "outputs": d.Outputs}, &n)
	published := time.Since(begin)
	caller := &testkit.Client{T: b.T, Base: b.Base, Token: n.Key}
	var took []string
	for _, number := range []int{1, 10} {
		begin = time.Now()
		var answer struct{ Answer int }
		caller.Want(200, "POST", n.URL, map[string]int{"number": number}, &answer)
		if answer.Answer != number*41 {
			b.T.Errorf("%d gives %d", number, answer.Answer)
		}
		took = append(took, fmt.Sprintf("%.2f s", time.Since(begin).Seconds()))
	}
	return fmt.Sprintf("published in %.1f s, calls: %s", published.Seconds(), strings.Join(took, ", "))
}

func freeze(b *bench) string {
	b.socket.Exec("x = 1234")
	b.MustRun(b.path("hibernate"), nil, nil)
	return "hibernated, x = 1234"
}

// outlived finds the project of before.
func outlived(b *bench) string {
	b.project = "machine"
	var list struct {
		Items []struct{ ID, State, Notebook string }
	}
	b.Want(200, "GET", "/api/v1/projects/machine/kernels", nil, &list)
	for _, k := range list.Items {
		if k.Notebook == "tour.ipynb" {
			b.kernel = k.ID
			if k.State != "hibernated" {
				b.T.Errorf("the kernel is %s", k.State)
			}
		}
	}
	b.socket = b.open(b.kernel)
	b.says("x, os.getpid() == pid", "(1234, True)")
	return "x = 1234, the same process; limits " + limits(b)
}

func until(b *bench, limit time.Duration, what string, done func() bool) {
	for deadline := time.Now().Add(limit); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.T.Fatalf("not within %v: %s", limit, what)
		}
	}
}

func read(b *bench, name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		b.T.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
