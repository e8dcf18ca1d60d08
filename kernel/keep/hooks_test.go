package keep

import (
	"bufio"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// A kernel is told only when it listens and has a reason to care; what it says
// is taken with its bounds.
func TestHooks(t *testing.T) {
	h, ends, err := newHooks()
	if err != nil {
		t.Fatal(err)
	}
	told, said := ends[0], ends[1]
	through := make(chan Hooked, 10)
	ended := make(chan struct{})
	go func() { h.listen(listener{done: func(r Hooked) { through <- r }}); close(ended) }()
	say := func(lines ...string) {
		t.Helper()
		if _, err := said.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	// What is said in between is taken in when the answer to this has come.
	settle := func() { t.Helper(); say(`{"id":99}`); <-through }
	branch, keep := Hook{ID: 1, Event: HookAfter, Reason: ReasonBranch}, Hook{ID: 2, Event: HookBefore, Reason: "keep"}
	if h.tell(branch) {
		t.Error("told a kernel that does not listen")
	}
	say(`{"ready":true}`)
	settle()
	if h.tell(keep) {
		t.Error("told a kernel without hooks")
	}
	if !h.tell(branch) {
		t.Error("a branch is not told")
	}
	say("{", "[]", `{"hooks":"many"}`, strings.Repeat("x", 3*maxAnswer), `{"hooks":1}`)
	settle()
	if !h.tell(keep) {
		t.Error("a hook is not told")
	}
	r := bufio.NewReader(told)
	for _, want := range []Hook{branch, keep} {
		line, _ := r.ReadBytes('\n')
		var got Hook
		if json.Unmarshal(line, &got) != nil || got != want {
			t.Errorf("told %s, want %+v", line, want)
		}
	}
	long, many := strings.Repeat("e", 2*maxHookError), make([]string, 3*maxHookErrors)
	for i := range many {
		many[i] = long
	}
	b, _ := json.Marshal(Hooked{ID: 2, Errors: many})
	say(string(b))
	if got := <-through; got.ID != 2 || len(got.Errors) != maxHookErrors || len(got.Errors[0]) != maxHookError {
		t.Errorf("through: %d errors of %d bytes", len(got.Errors), len(got.Errors[0]))
	}
	say(`{"id":3,"errors":["one"]}`)
	if got := <-through; !reflect.DeepEqual(got, Hooked{3, []string{"one"}}) {
		t.Errorf("through: %+v", got)
	}
	said.Close()
	<-ended
	told.Close()
	if h.tell(keep) {
		t.Error("told a kernel that has ended")
	}
}

// One that listens and does not read is not waited for.
func TestHooksThatNobodyReads(t *testing.T) {
	h, ends, err := newHooks()
	if err != nil {
		t.Fatal(err)
	}
	defer ends[0].Close()
	defer ends[1].Close()
	defer h.close()
	h.ready, h.count = true, 1
	h.out.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := h.out.Write(make([]byte, 1<<20)); err == nil {
		t.Fatal("the pipe is not full: the test is wrong")
	}
	done := make(chan bool)
	go func() { done <- h.tell(Hook{ID: 1, Event: HookBefore, Reason: "keep"}) }()
	if <-done {
		t.Error("told through a full pipe")
	}
}
