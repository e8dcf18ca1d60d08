package keep

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"sync"
	"time"
)

// Kernels that know how may ask to be told before they are frozen and after they
// were thawed. The keeper gives every kernel two pipes from birth, named in
// HookVariable, because a kernel in the middle of a cell takes no message: a
// thread of its own reads them.
//
// Lines of JSON. From the keeper: {"id":1,"event":"after_restore","reason":"branch"}.
// From the kernel: {"ready":true} once, when something reads, with "answers":true
// if it takes questions (see ask.go); {"hooks":2} whenever their number changes;
// {"id":1,"errors":["..."]} when the hooks of an event are through; a want, see
// want.go. All that the kernel says is untrusted.

// HookVariable names the two descriptors, to be read and to be written: "3,4".
const HookVariable = "CELLAR_HOOKS"

// Hook is an event that a kernel is told of.
type Hook struct {
	ID     uint64 `json:"id"`
	Event  string `json:"event"`         // HookBefore, HookAfter
	Reason string `json:"reason"`        // hibernate, switch, keep, publish, branch ...
	Dir    string `json:"dir,omitempty"` // with ReasonTemplate: the kernel's working directory
}

// Events of hooks.
const (
	HookBefore = "before_checkpoint"
	HookAfter  = "after_restore"
)

// Hooked is what came of a hook.
type Hooked struct {
	ID     uint64   `json:"id"`
	Errors []string `json:"errors,omitempty"`
}

const (
	maxHookErrors = 20
	maxHookError  = 500 // bytes
	hookWrite     = time.Second
)

// hooks is the keeper's side of the pipes of one life of a kernel.
type hooks struct {
	in, out *os.File // what the kernel says, what it is told
	wants   wants

	mu    sync.Mutex
	ready bool
	asks  bool // it takes questions
	count int
	raw   uint64 // the copy of a template; the hook that makes it a kernel of its own, rawUntold: not told yet
}

// rawUntold: no hook has been told to the copy of a template.
const rawUntold = ^uint64(0)

// newHooks makes the pipes; the kernel's ends are given to the child and closed
// here by whoever starts it.
func newHooks() (h *hooks, kernel [2]*os.File, err error) {
	toldR, toldW, err := os.Pipe()
	if err != nil {
		return nil, kernel, err
	}
	saidR, saidW, err := os.Pipe()
	if err != nil {
		toldR.Close()
		toldW.Close()
		return nil, kernel, err
	}
	return &hooks{in: saidR, out: toldW}, [2]*os.File{toldR, saidW}, nil
}

// listener is told what the kernel says.
type listener struct {
	done     func(Hooked) // a hook is through
	answered func(number uint64, what json.RawMessage)
	wanted   func(Want)
}

// listen reads what the kernel says until it has ended.
func (h *hooks) listen(to listener) {
	r := bufio.NewReader(io.Reader(h.in))
	for {
		line, err := readLine(r, maxAnswer)
		if err != nil {
			return
		}
		var said struct {
			Ready   bool            `json:"ready"`
			Answers bool            `json:"answers"`
			Hooks   *int            `json:"hooks"`
			ID      uint64          `json:"id"`
			Errors  []string        `json:"errors"`
			Answer  json.RawMessage `json:"answer"`
			Want    *string         `json:"want"`
		}
		if json.Unmarshal(line, &said) != nil {
			continue
		}
		h.mu.Lock()
		h.ready, h.asks = h.ready || said.Ready, h.asks || said.Answers
		if said.Hooks != nil {
			h.count = max(0, *said.Hooks)
		}
		h.mu.Unlock()
		switch {
		case said.Answer != nil:
			to.answered(said.ID, said.Answer)
		case said.Want != nil:
			if w, ok := h.wants.put(said.ID, *said.Want); ok {
				to.wanted(w)
			}
		case said.ID != 0:
			h.settled(said.ID, len(said.Errors) == 0)
			to.done(Hooked{ID: said.ID, Errors: bounded(said.Errors)})
		}
	}
}

// readLine reads one line; of one that is longer than limit it returns nothing.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for tooLong := false; ; {
		part, err := r.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(part) > limit; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

func bounded(list []string) []string {
	list = list[:min(len(list), maxHookErrors)]
	for i := range list {
		list[i] = list[i][:min(len(list[i]), maxHookError)]
	}
	return list
}

// tell writes an event to the kernel; false when nobody there cares for it: no
// hook is registered, and it is none that the kernel's own side acts upon.
func (h *hooks) tell(e Hook) bool {
	h.mu.Lock()
	care := h.ready && (h.count > 0 || e.Event == HookAfter && (e.Reason == ReasonBranch || e.Reason == ReasonTemplate))
	if e.Reason == ReasonTemplate {
		h.raw = rawUntold
		if e.Event == HookAfter {
			h.raw = e.ID
		}
	}
	h.mu.Unlock()
	if !care {
		return false
	}
	return h.say(e)
}

// settled takes note that a hook is through: a copy of a template is a kernel of
// its own then.
func (h *hooks) settled(id uint64, well bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.raw == 0 || h.raw != id:
	case well:
		h.raw = 0
	default:
		h.raw = rawUntold
	}
}

// isRaw reports whether this is the copy of a template, and no kernel of its own yet.
func (h *hooks) isRaw() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.raw != 0
}

// ask writes a question to the kernel; false when nobody there takes any.
func (h *hooks) ask(number uint64, what string) bool {
	h.mu.Lock()
	asks := h.asks
	h.mu.Unlock()
	return asks && h.say(Question{number, what})
}

func (h *hooks) say(line any) bool {
	b, err := json.Marshal(line)
	if err != nil {
		return false
	}
	h.out.SetWriteDeadline(time.Now().Add(hookWrite)) // nobody may be reading
	_, err = h.out.Write(append(b, '\n'))
	return err == nil
}

// ReasonBranch is the reason whose processes become a second copy: their random
// state is renewed even where no hook is registered.
const ReasonBranch = "branch"

// ReasonTemplate is the reason of a kernel that is frozen before anything was run in
// it, for others to begin from; and, after it was thawed, of what makes the copy a
// kernel of its own: its random state, its session, its working directory. Until
// that is through the keeper's Hello says Raw.
const ReasonTemplate = "template"

func (h *hooks) close() {
	h.in.Close()
	h.out.Close()
}
