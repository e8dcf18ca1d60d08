package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCommute: a cell runs on while the tab is closed and the hub is killed; its
// outputs reach the file; the idle kernel hibernates and wakes by a message.
func TestCommute(t *testing.T) {
	h := startHub(t, "--idle", "5s")
	p, _ := h.project("Commute")
	putNotebook(t, h, p, "way.ipynb", map[string]string{"first": "import os,time; x=41; p=os.getpid()", "lines": "for i in range(40): print(i); time.sleep(.2)", "last": "x"})
	k := h.session(p, "way.ipynb")
	s := h.Open(p, k)
	s.Wait(s.Send("import os,time; x=41; p=os.getpid()", "first"))
	s.Send("for i in range(40): print(i); time.sleep(.2)", "lines")
	s.Send("x", "last")
	time.Sleep(time.Second) // a few lines are out
	s.Close()
	h.kill(syscall.SIGKILL)
	time.Sleep(2 * time.Second) // lines that nobody reads
	h.start()
	var text string
	var count *int
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if text, count = h.notebookOnDisk(p, "way.ipynb", "lines"); text == numbers(40) && count != nil {
			break
		}
	}
	if text != numbers(40) || count == nil || *count != 2 {
		t.Fatalf("on disk: count %v, %q", count, text)
	}
	h.await(p, k, "hibernated")
	if left := processesOf(k); len(left) > 0 {
		t.Errorf("processes of a hibernated kernel: %v", left)
	}
	v := h.kernel(p, k)
	if _, err := os.Stat(filepath.Join(h.data, "vault", v.Checkpoint, "manifest.json")); err != nil {
		t.Error(err)
	}
	// A tab opens: that alone wakes nothing, and it shows what was said.
	var model struct{ Content json.RawMessage }
	h.Want(200, "GET", "/projects/"+p+"/api/contents/way.ipynb?type=notebook&content=1", nil, &model)
	if text, _ := cellText(t, model.Content, "lines"); text != numbers(40) {
		t.Errorf("loaded: %q", text)
	}
	s = h.Open(p, k)
	if v := h.kernel(p, k); v.State != "hibernated" {
		t.Errorf("opening a socket woke it: %s", v.State)
	}
	if got := s.Exec("x+1, os.getpid()==p"); got != "(42, True)" {
		t.Errorf("woken: %s", got)
	}
}

// TestLastWords: what a kernel said before the machine went down, and no
// notebook had yet, reaches the notebook when the machine is up again.
func TestLastWords(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Words")
	putNotebook(t, h, p, "way.ipynb", map[string]string{"done": "1", "open": "2"})
	k := h.session(p, "way.ipynb")
	s := h.Open(p, k)
	s.Exec("import os, time")
	pid := h.containerd()
	h.kill(syscall.SIGKILL)
	h.start()
	s = h.Open(p, k)
	s.Send("print('one')", "done")
	s.Send("print('two', flush=True); open('said', 'w').close()\ntime.sleep(1000)", "open")
	soon(t, func() bool { return h.exists(p, "said") })
	h.kill(syscall.SIGKILL) // a tab is open: the hub has written nothing
	killAll(t, h.data, pid)
	for cell := range map[string]bool{"done": true, "open": true} {
		if text, _ := h.notebookOnDisk(p, "way.ipynb", cell); text != "" {
			t.Fatalf("%s has %q already: the test is wrong", cell, text)
		}
	}
	h.start()
	if v := h.kernel(p, k); v.State != "dead" {
		t.Errorf("the kernel is %s", v.State)
	}
	for cell, want := range map[string]string{"done": "one\n", "open": "two\n"} {
		soon(t, func() bool { text, _ := h.notebookOnDisk(p, "way.ipynb", cell); return text == want })
	}
}

func (h *hub) exists(project, name string) bool {
	_, err := os.Stat(filepath.Join(h.data, "projects", project, "files", name))
	return err == nil
}

// TestStaleTab: a save from a tab that was away erases nothing; a save from one
// that has seen the run's end may clear it.
func TestStaleTab(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Tabs")
	nb := putNotebook(t, h, p, "tab.ipynb", map[string]string{"a": "print('hello')"})
	k := h.session(p, "tab.ipynb")
	s := h.Open(p, k)
	s.Send("import time; time.sleep(1); print('hello')", "a")
	s.Close() // before it ends
	load := func() string {
		var m struct{ Content json.RawMessage }
		h.Want(200, "GET", "/projects/"+p+"/api/contents/tab.ipynb?content=1", nil, &m)
		text, _ := cellText(t, m.Content, "a")
		return text
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if text, _ := h.notebookOnDisk(p, "tab.ipynb", "a"); text == "hello\n" {
			break
		}
	}
	save := func() {
		h.Want(200, "PUT", "/projects/"+p+"/api/contents/tab.ipynb", map[string]any{"type": "notebook", "format": "json", "content": nb}, nil)
	}
	save() // the stale tab: its copy has no outputs
	if got, _ := h.notebookOnDisk(p, "tab.ipynb", "a"); got != "hello\n" {
		t.Errorf("a stale save erased the output: %q", got)
	}
	if got := load(); got != "hello\n" {
		t.Errorf("loaded %q", got)
	}
	save() // now a tab has seen it and clears it
	if got, _ := h.notebookOnDisk(p, "tab.ipynb", "a"); got != "" {
		t.Errorf("cleared outputs came back: %q", got)
	}
}

// putNotebook saves a notebook of code cells and returns its content.
func putNotebook(t testing.TB, h *hub, project, path string, cells map[string]string) json.RawMessage {
	t.Helper()
	var list []any
	for id, source := range cells {
		list = append(list, map[string]any{"id": id, "cell_type": "code", "metadata": map[string]any{}, "source": source, "outputs": []any{}, "execution_count": nil})
	}
	nb, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{}, "cells": list})
	if err != nil {
		t.Fatal(err)
	}
	h.Want(201, "PUT", "/projects/"+project+"/api/contents/"+path, map[string]any{"type": "notebook", "format": "json", "content": json.RawMessage(nb)}, nil)
	return nb
}

// processesOf lists what runs in the control groups of a kernel.
func processesOf(kernel string) (out []string) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if b, err := os.ReadFile("/proc/" + e.Name() + "/cgroup"); err == nil && strings.Contains(string(b), kernel) {
			out = append(out, e.Name())
		}
	}
	return out
}
