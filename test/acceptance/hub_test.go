// Package acceptance drives the built program as its users do: the real binary,
// real containers, HTTP and websockets.
package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cellar/internal/testkit"
)

// hub is a running server with a data folder of its own.
type hub struct {
	*testkit.Client
	t    testing.TB
	data string
	addr string
	args []string
	cmd  *exec.Cmd
	log  *os.File
}

func binary() string { return filepath.Join(testkit.Root(), "bin", "cellar") }

// startHub starts a hub for the whole test; the data folder is taken down again.
func startHub(t testing.TB, args ...string) *hub {
	t.Helper()
	h := newHub(t, args...)
	h.start()
	h.Token = h.token()
	return h
}

// newHub makes the data folder of a hub that is not started yet.
func newHub(t testing.TB, args ...string) *hub {
	t.Helper()
	testkit.Containers(t)
	if _, err := os.Stat(binary()); err != nil {
		t.Fatalf("%v (make build)", err)
	}
	data, err := os.MkdirTemp(workDir(t), "data-")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "hub.log"))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	h := &hub{Client: &testkit.Client{T: t, Base: "http://" + addr}, t: t, data: data, addr: addr, args: args, log: log}
	t.Cleanup(func() {
		h.kill(syscall.SIGTERM)
		out, err := exec.Command(binary(), "down", "--data", data, "--kill").CombinedOutput()
		if err != nil {
			t.Errorf("cellar down: %v: %s", err, out)
		}
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("the hub's log ends:\n%s", b[max(0, len(b)-6000):])
		}
		if err := os.RemoveAll(data); err != nil {
			t.Error(err)
		}
	})
	fill(t, data)
	return h
}

// template is a data folder in which the image is imported already: importing
// takes most of a minute on a small machine, linking its files a second.
var template = sync.OnceValues(func() (string, error) {
	st, err := os.Stat(testkit.Image())
	if err != nil {
		return "", err
	}
	dir := filepath.Join(testkit.Cache(), "test-template", fmt.Sprintf("%x-%x", st.Size(), st.ModTime().UnixNano()))
	if _, err := os.Stat(filepath.Join(dir, "image.json")); err == nil {
		return dir, nil
	}
	os.RemoveAll(filepath.Dir(dir))
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", err
	}
	// A hub without a port: down opens the data folder, imports and ends it.
	if out, err := exec.Command(binary(), "down", "--data", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// fill links the template's image into a new data folder; databases are copied.
func fill(t testing.TB, data string) {
	t.Helper()
	dir, err := template()
	if err != nil {
		t.Fatal(err)
	}
	script := `cp -al "$1/containerd" "$2/" && cp "$1/image.json" "$2/" && find "$2/containerd" -name '*.db' -exec sh -c 'cp "$0" "$0.new" && mv "$0.new" "$0"' {} \; && rm -f "$2/containerd/containerd.log"`
	if out, err := exec.Command("sh", "-c", script, "sh", dir, data).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (h *hub) token(args ...string) string {
	h.t.Helper()
	out, err := exec.Command(binary(), append([]string{"token", "--data", h.data}, args...)...).Output()
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// start starts the program and waits until kernels can be started.
func (h *hub) start() {
	h.t.Helper()
	h.launch()
	if status, b, err := h.Try("GET", "/readyz", nil); err != nil || status != 200 {
		h.t.Fatalf("/readyz: %d %s %v", status, b, err)
	}
}

// launch starts the program and waits for its ready line.
func (h *hub) launch() {
	h.t.Helper()
	h.cmd = exec.Command(binary(), append([]string{"serve", "--data", h.data, "--listen", h.addr}, h.args...)...)
	h.cmd.Stderr = h.log
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	sc := bufio.NewScanner(out)
	ready := make(chan bool, 1)
	go func() {
		for sc.Scan() {
			if strings.HasPrefix(sc.Text(), "ready: ") {
				ready <- true
			}
		}
		ready <- false
	}()
	select {
	case ok := <-ready:
		if !ok {
			b, _ := os.ReadFile(h.log.Name())
			h.t.Fatalf("the hub did not start: %s", b)
		}
	case <-time.After(3 * time.Minute):
		h.t.Fatal("the hub is not ready after three minutes")
	}
}

// kill ends the hub by a signal and waits for it.
func (h *hub) kill(sig syscall.Signal) {
	if h.cmd == nil {
		return
	}
	h.cmd.Process.Signal(sig)
	done := make(chan struct{})
	go func() { h.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		h.cmd.Process.Kill()
		<-done
		h.t.Errorf("the hub did not end on %v", sig)
	}
	h.cmd = nil
}

// workDir is on the same file system as the template, for hard links.
func workDir(t testing.TB) string {
	dir := filepath.Join(testkit.Cache(), "test")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// containerd's process ID.
func (h *hub) containerd() int {
	out, err := exec.Command("pgrep", "-f", "containerd --config "+h.data).Output()
	if err != nil {
		h.t.Fatalf("no containerd: %v", err)
	}
	var pid int
	fmt.Sscan(string(out), &pid)
	return pid
}

// project makes a project and opens a session on its tour.
func (h *hub) project(name string) (project, kernel string) {
	h.t.Helper()
	var p struct{ ID string }
	h.Want(201, "POST", "/api/v1/projects", map[string]string{"name": name}, &p)
	return p.ID, h.session(p.ID, "tour.ipynb")
}

func (h *hub) session(project, path string) string {
	h.t.Helper()
	var s struct{ Kernel struct{ ID string } }
	h.Want(201, "POST", "/projects/"+project+"/api/sessions", map[string]any{"path": path, "name": path, "type": "notebook", "kernel": map[string]string{"name": "python3"}}, &s)
	return s.Kernel.ID
}

type view struct {
	ID, State, Configuration, Machine string
	StateDetail                       string `json:"state_detail"`
	MemoryLimit                       int64  `json:"memory_limit"`
	Checkpoint                        string
	ExecutionState                    string    `json:"execution_state"`
	LastActivity                      time.Time `json:"last_activity"`
}

// memorySeen says what a kernel reads as MemTotal, in MiB, when its limit is a
// number of MiB: the limit, or what the machine has where lxcfs 6 itself refuses
// to be read, as it may not look at every process there. Any other trouble with
// the views is ours, and fails.
func (h *hub) memorySeen() func(limit int) int {
	h.t.Helper()
	var list struct {
		Items []struct{ Code, Status, Detail string }
	}
	h.Want(200, "GET", "/api/v1/doctor", nil, &list)
	for _, f := range list.Items {
		if f.Code == "proc_views" && strings.Contains(f.Detail, "personality access policy") {
			h.t.Logf("not looked at: what a kernel reads in /proc/meminfo: %s", f.Detail)
			var all int
			text, err := os.ReadFile("/proc/meminfo")
			if _, e := fmt.Sscanf(string(text), "MemTotal: %d", &all); err != nil || e != nil {
				h.t.Fatal(err, e)
			}
			return func(int) int { return all / 1024 }
		}
	}
	return func(limit int) int { return limit }
}

func (h *hub) kernel(project, id string) view {
	h.t.Helper()
	var list struct{ Items []view }
	h.Want(200, "GET", "/api/v1/projects/"+project+"/kernels", nil, &list)
	for _, k := range list.Items {
		if k.ID == id {
			return k
		}
	}
	h.t.Fatalf("kernel %s is not listed", id)
	return view{}
}

func (h *hub) await(project, id, state string) view {
	h.t.Helper()
	var v view
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if v = h.kernel(project, id); v.State == state {
			return v
		}
	}
	h.t.Fatalf("kernel %s is %s (%s), want %s", id, v.State, v.StateDetail, state)
	return v
}

func (h *hub) path(project, kernel, deed string) string {
	return "/api/v1/projects/" + project + "/kernels/" + kernel + "/" + deed
}

// notebookOnDisk reads the outputs of a cell from the file itself.
func (h *hub) notebookOnDisk(project, path, cell string) (text string, count *int) {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.data, "projects", project, "files", path))
	if err != nil {
		h.t.Fatal(err)
	}
	return cellText(h.t, b, cell)
}

func cellText(t testing.TB, nb []byte, cell string) (text string, count *int) {
	t.Helper()
	var doc struct {
		Cells []struct {
			ID      string
			Count   *int `json:"execution_count"`
			Outputs []struct{ Text any }
		}
	}
	if err := json.Unmarshal(nb, &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range doc.Cells {
		if c.ID != cell {
			continue
		}
		var b strings.Builder
		for _, o := range c.Outputs {
			switch v := o.Text.(type) {
			case string:
				b.WriteString(v)
			case []any:
				for _, s := range v {
					b.WriteString(s.(string))
				}
			}
		}
		return b.String(), c.Count
	}
	t.Fatalf("no cell %s", cell)
	return "", nil
}

func numbers(n int) string {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

// together runs all functions at once.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
