package containerd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cellar/internal/testkit"
	"cellar/kernel"
	"cellar/kernel/keep"
	"cellar/kernel/support"
	"cellar/kernel/wire"
)

// bench is a private containerd with the base image, shared by the tests of a run.
type bench struct {
	rt   *Runtime
	dir  string
	opt  string
	name string
	at   uint64 // the last record of the journal that was heard, across containers
}

func newBench(t testing.TB) *bench {
	testkit.Containers(t)
	dir := t.TempDir()
	os.Chmod(dir, 0o711)
	os.Chmod(filepath.Dir(dir), 0o711)
	opt := filepath.Join(dir, "opt")
	if err := os.CopyFS(opt, support.Files); err != nil {
		t.Fatal(err)
	}
	keeper := filepath.Join(opt, "cellar-keep")
	build := exec.Command("go", "build", "-o", keeper, "cellar/cmd/cellar-keep")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d := Daemon{Tools: testkit.Tools(), Root: filepath.Join(dir, "containerd"), State: StateDir(dir), Log: slog.New(slog.DiscardHandler)}
	c, err := d.Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rt, err := New(c, Options{Dir: filepath.Join(dir, "runtime"), Tools: d.Tools, Keeper: keeper, Cgroup: "cellar-test", Log: d.Log})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{rt: rt, dir: dir, opt: opt}
	t.Cleanup(func() {
		list, _ := rt.List(context.Background())
		for _, s := range list {
			rt.Remove(context.Background(), s.Name)
		}
		c.Close()
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(d.State)
	})
	f, err := os.Open(testkit.Image())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	start := time.Now()
	names, err := rt.ImportImage(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("imported %v in %v", names, time.Since(start))
	b.name = names[0]
	return b
}

func (b *bench) container(t testing.TB, name string, l kernel.Limits) kernel.Container {
	const base = 1_000_000
	c := kernel.Container{
		Name: name, Image: b.name, Dir: "/project", UID: 1000, UIDBase: base, Limits: l,
		Labels:  map[string]string{"test": t.Name()},
		Env:     []string{"HOME=/home/cellar", "PYTHONPATH=/opt/cellar/python", "GODEBUG=multipathtcp=0"},
		LogFile: filepath.Join(b.dir, name+".log"),
		Argv:    []string{"/opt/cellar/cellar-keep", "run", "--", "python3", "-m", "cellar_launcher", "-f", "{connection_file}"},
	}
	c.Mounts = append(c.Mounts, kernel.Mount{Source: b.opt, Target: "/opt/cellar", ReadOnly: true})
	for dir, target := range map[string]string{"project": "/project", "home": "/home/cellar", "journal": "/cellar/journal"} {
		p := filepath.Join(b.dir, dir)
		os.MkdirAll(p, 0o755)
		os.Chown(p, base+1000, base+1000)
		c.Mounts = append(c.Mounts, kernel.Mount{Source: p, Target: target})
	}
	return c
}

type talk struct {
	t  testing.TB
	c  *keep.Client
	n  int
	at uint64
}

func (b *bench) talk(t testing.TB, name string, from uint64) *talk {
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := b.rt.Dial(t.Context(), name, keep.Port)
		if err == nil {
			c, err := keep.Open(conn, from)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return &talk{t: t, c: c}
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(b.dir, name+".log"))
			t.Fatalf("%v: %s", err, log)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// run sends code and returns what it printed or evaluated to.
func (k *talk) run(code string) string {
	k.t.Helper()
	k.n++
	id := fmt.Sprintf("%s-%d-%d", k.t.Name(), time.Now().UnixNano(), k.n)
	h, _ := json.Marshal(wire.Header{MsgID: id, MsgType: "execute_request", Session: "s", Version: "5.3"})
	content, _ := json.Marshal(map[string]any{"code": code, "silent": false, "store_history": true, "allow_stdin": false})
	if err := k.c.Send(wire.Shell, &wire.Message{Header: h, Content: content}); err != nil {
		k.t.Fatal(err)
	}
	return k.until(id)
}

func (k *talk) until(id string) string {
	k.t.Helper()
	var out strings.Builder
	for {
		r, err := k.c.Next()
		if err != nil {
			k.t.Fatalf("after %q: %v", out.String(), err)
		}
		k.at = r.Seq
		if r.Channel == wire.Event {
			k.t.Logf("event %s", r.Message.Content)
			if bytes.Contains(r.Message.Content, []byte(`"exited"`)) {
				k.t.Fatal("the kernel ended")
			}
		}
		p, _ := wire.ParseHeader(r.Message.Parent)
		h, _ := wire.ParseHeader(r.Message.Header)
		if r.Channel != wire.IOPub || p.MsgID != id {
			continue
		}
		var c struct {
			Text           string            `json:"text"`
			Data           map[string]string `json:"data"`
			ExecutionState string            `json:"execution_state"`
			Traceback      []string          `json:"traceback"`
		}
		json.Unmarshal(r.Message.Content, &c)
		switch h.MsgType {
		case "stream":
			out.WriteString(c.Text)
		case "execute_result":
			out.WriteString(c.Data["text/plain"])
		case "error":
			out.WriteString(strings.Join(c.Traceback, "\n"))
		case "status":
			if c.ExecutionState == "idle" {
				return out.String()
			}
		}
	}
}

func TestKernelRunsFreezesAndThaws(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	start := time.Now()
	one := b.container(t, "k1-1", kernel.Limits{CPUs: 1, CPUSet: "0", Memory: 1 << 30, Pids: 300})
	if err := b.rt.Create(ctx, one); err != nil {
		t.Fatal(err)
	}
	k := b.talk(t, "k1-1", 1)
	if got := k.run("1+1"); got != "2" {
		t.Fatalf("1+1 = %q", got)
	}
	t.Logf("first reply after %v", time.Since(start))
	k.run("x=41; import os,time; pid=os.getpid(); g=(i for i in range(9)); next(g); f=open('out.txt','w'); f.write('a')\nimport threading\nn=[0]\ndef count():\n  while True: n[0]+=1; time.sleep(.01)\nthreading.Thread(target=count,daemon=True).start()")
	if got := k.run("!echo hallo; nproc"); got != "hallo\n1\n" {
		t.Errorf("!echo gave %q", got)
	}
	if got := k.run("len(os.sched_getaffinity(0))"); got != "1" {
		t.Errorf("cpus %q", got)
	}
	if err := b.rt.Update(ctx, "k1-1", kernel.Limits{CPUs: 2, CPUSet: "0-1", Memory: 2 << 30, Pids: 300}); err != nil {
		t.Fatal(err)
	}
	if got := k.run("len(os.sched_getaffinity(0))"); got != "2" {
		t.Errorf("cpus after the update %q", got)
	}

	// In the middle of a cell that prints: detach, dump, restore as another
	// container, and every line is there once.
	h, _ := json.Marshal(wire.Header{MsgID: "lines", MsgType: "execute_request", Session: "s", Version: "5.3"})
	content, _ := json.Marshal(map[string]any{"code": "for i in range(1000):\n  print(i); time.sleep(.002)"})
	if err := k.c.Send(wire.Shell, &wire.Message{Header: h, Content: content}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	at := k.at + 1
	k.c.Do(keep.OpDetach)
	dump := filepath.Join(b.dir, "dump", "1")
	os.MkdirAll(filepath.Dir(dump), 0o711)
	start = time.Now()
	if err := b.rt.Freeze(ctx, "k1-1", kernel.Freeze{Dir: dump}); err != nil {
		t.Fatal(err)
	}
	t.Logf("frozen in %v", time.Since(start))
	start = time.Now()
	two := b.container(t, "k1-2", kernel.Limits{CPUs: 1, CPUSet: "1", Memory: 1 << 30, Pids: 300})
	if err := b.rt.Restore(ctx, two, dump); err != nil {
		t.Fatal(err)
	}
	k = b.talk(t, "k1-2", at)
	t.Logf("thawed in %v", time.Since(start))
	got := strings.Fields(k.until("lines"))
	if len(got) != 1000 {
		t.Fatalf("%d lines", len(got))
	}
	for i, l := range got {
		if l != fmt.Sprint(i) {
			t.Fatalf("line %d is %s", i, l)
		}
	}
	if got := k.run("x+1, os.getpid()==pid, next(g), len(os.sched_getaffinity(0)), f.write('b'), f.flush(), n[0] > 100"); got != "(42, True, 1, 1, 1, None, True)" {
		t.Errorf("after the thaw: %s", got)
	}

	// A checkpoint that leaves the kernel running.
	k.c.Do(keep.OpDetach)
	paused := false
	leave := filepath.Join(b.dir, "dump", "2")
	start = time.Now()
	if err := b.rt.Freeze(ctx, "k1-2", kernel.Freeze{Dir: leave, Leave: true, Paused: func() error { paused = true; return nil }}); err != nil {
		t.Fatal(err)
	}
	t.Logf("checkpoint with leave in %v, paused called: %v", time.Since(start), paused)
	k = b.talk(t, "k1-2", k.at+1)
	if got := k.run("x+1"); got != "42" {
		t.Errorf("after a checkpoint: %s", got)
	}
	u, err := b.rt.Usage(ctx, "k1-2")
	t.Logf("usage %+v %v", u, err)
}
