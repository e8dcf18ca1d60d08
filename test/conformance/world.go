package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"cellar/internal/testkit"
)

// world holds the two servers and what else was started.
type world struct {
	jupyter, cellar *site
	work            string // a folder for everything, removed at the end
	gateway         *site  // a jupyter_server whose kernels are those of cellar
	forServices     *hub
	servicesDir     string
	galata          *galata
	hubs            []*hub
	procs           []*process
	undo            []func() // at the end, the last first
}

const token = "conformance-0123456789abcdef"

func newWorld(ctx context.Context) (*world, error) {
	w := &world{}
	parent := filepath.Join(testkit.Cache(), "test")
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return w, err
	}
	var err error
	if w.work, err = os.MkdirTemp(parent, "conformance-"); err != nil {
		return w, err
	}
	if err := os.Chmod(w.work, 0o711); err != nil {
		return w, err
	}
	if w.jupyter, err = w.startJupyter(ctx, jupyterSide); err != nil {
		return w, err
	}
	h, err := w.startHub(ctx, cellarSide)
	if err != nil {
		return w, err
	}
	w.cellar, err = h.project(ctx, "Conformance")
	return w, err
}

// process is a program that was started, in a process group of its own.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// spawn starts a program whose output goes to a log, and to said line by line if
// it is not nil.
func (w *world) spawn(name string, said func(string), argv ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(w.work, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(argv[0], argv[1:]...), log: log.Name(), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		log.Close()
		return nil, err
	}
	go func() {
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			fmt.Fprintln(log, sc.Text())
			if said != nil {
				said(sc.Text())
			}
		}
		io.Copy(log, out)
		p.cmd.Wait()
		log.Close()
		close(p.done)
	}()
	w.procs = append(w.procs, p)
	return p, nil
}

// stop asks a program to end, and ends it.
func (p *process) stop() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.done:
		return
	case <-time.After(15 * time.Second):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, err
}

// peer is the command line of a program in the peer's root.
func peer(options []string, argv ...string) []string {
	line := append([]string{filepath.Join(testkit.Root(), "scripts", "peer.sh")}, options...)
	return append(append(line, "--"), argv...)
}

// startJupyter starts a jupyter_server with an empty root folder.
func (w *world) startJupyter(ctx context.Context, name string, more ...string) (*site, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	files := filepath.Join(w.work, name+".files")
	if err := os.Mkdir(files, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chown(files, 1000, 1000); err != nil {
		return nil, err
	}
	argv := append([]string{"jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=" + port, "--ServerApp.port_retries=0",
		"--IdentityProvider.token=" + token, "--ServerApp.root_dir=/project", "--FileContentsManager.delete_to_trash=False"}, more...)
	p, err := w.spawn(name, nil, peer([]string{"--bind", files, "/project"}, argv...)...)
	if err != nil {
		return nil, err
	}
	s := &site{name: name, base: "http://127.0.0.1:" + port + "/", token: token, files: files}
	return s, p.ready(ctx, s.base+"api/status?token="+token)
}

// ready waits until an address answers.
func (p *process) ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		if res, err := plain.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %s", p.name, p.lastWords())
		case <-p.done:
			return fmt.Errorf("%s has ended: %s", p.name, p.lastWords())
		case <-tick.C:
		}
	}
}

func (p *process) lastWords() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-4000):])
}

func cellarProgram() string { return filepath.Join(testkit.Root(), "bin", "cellar") }

// hub is a running server of Cellar's with a data folder of its own.
type hub struct{ data, address, token string }

// startHub starts one and waits until it is ready.
func (w *world) startHub(ctx context.Context, name string, more ...string) (*hub, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	h := &hub{data: filepath.Join(w.work, name+".data"), address: "127.0.0.1:" + port}
	w.hubs = append(w.hubs, h)
	ready := make(chan struct{})
	var once sync.Once
	p, err := w.spawn(name, func(line string) {
		if strings.HasPrefix(line, "ready: ") {
			once.Do(func() { close(ready) })
		}
	}, append([]string{cellarProgram(), "serve", "--data", h.data, "--listen", h.address}, more...)...)
	if err != nil {
		return nil, err
	}
	select {
	case <-ready:
	case <-p.done:
		return nil, fmt.Errorf("the hub has ended: %s", p.lastWords())
	case <-time.After(5 * time.Minute): // it imports the image
		return nil, fmt.Errorf("the hub is not ready: %s", p.lastWords())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	secret, err := exec.CommandContext(ctx, cellarProgram(), "token", "--data", h.data).Output()
	if err != nil {
		return nil, fmt.Errorf("cellar token: %w", err)
	}
	h.token = strings.TrimSpace(string(secret))
	return h, nil
}

// project makes a project of the hub, without the tour that new ones have.
func (h *hub) project(ctx context.Context, name string) (*site, error) {
	body, _ := json.Marshal(map[string]string{"name": name})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.address+"/api/v1/projects", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "token "+h.token)
	res, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var made struct{ ID string }
	if err := errors.Join(json.NewDecoder(res.Body).Decode(&made)); err != nil || res.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("making a project: %s %w", res.Status, err)
	}
	return &site{
		name: cellarSide, base: "http://" + h.address + "/projects/" + made.ID + "/", token: h.token,
		files: filepath.Join(h.data, "projects", made.ID, "files"),
	}, nil
}

// later runs f at the end.
func (w *world) later(f func()) { w.undo = append(w.undo, f) }

// close ends everything and says whether that went well.
func (w *world) close(verbose bool) bool {
	for _, f := range slices.Backward(w.undo) {
		f()
	}
	for i := range w.procs {
		p := w.procs[len(w.procs)-1-i]
		p.stop()
		if verbose {
			fmt.Fprintf(os.Stderr, "%s's log ends:\n%s\n", p.name, p.lastWords())
		}
	}
	ok := true
	for _, h := range w.hubs {
		if out, err := exec.Command(cellarProgram(), "down", "--data", h.data, "--kill").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "conformance: cellar down: %v: %s\n", err, out)
			ok = false
		}
	}
	if w.work != "" && ok {
		if err := os.RemoveAll(w.work); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			ok = false
		}
	}
	return ok
}
