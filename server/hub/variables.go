package hub

import (
	"context"
	"encoding/json"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
)

// Variable is one name of the user's namespace. Its value is never read by code
// of the person's: only what the interpreter tells of the object itself.
type Variable struct {
	Name    string `json:"name" doc:"what cannot be seen in it is escaped"`
	Type    string `json:"type"`
	Shape   string `json:"shape,omitempty" doc:"(3, 4) of an array; (3) of a list with three items"`
	Size    int64  `json:"size" doc:"bytes, with what is in it as far as that is known"`
	Partial bool   `json:"partial,omitempty" doc:"it is larger than its size says, or its size is not known at all (0)"`
	Value   string `json:"value,omitempty" doc:"a short text of it, where it can be told without running code"`
}

func (v Variable) String() string {
	switch {
	case v.Shape != "" && v.Value != "":
		return v.Type + " " + v.Shape + " " + v.Value
	case v.Shape != "":
		return v.Type + " " + v.Shape
	case v.Value != "":
		return v.Value
	}
	return v.Type
}

// same reports whether nothing that is known tells v and o apart. Older lists
// have fewer values; sizes are counted up to a limit, which moves.
func (v Variable) same(o Variable) bool {
	return v.Type == o.Type && v.Shape == o.Shape && (v.Value == o.Value || v.Value == "" || o.Value == "")
}

// Variables is a list of a kernel's variables as of a moment.
type Variables struct {
	Items  []Variable `json:"items" doc:"the oldest names first, at most 2,000"`
	Total  int        `json:"total" doc:"how many there are"`
	AsOf   time.Time  `json:"as_of"`
	Live   bool       `json:"live" doc:"false: the kernel cannot be asked now, and this is what it said last; detail says why"`
	Detail string     `json:"detail,omitempty"`
}

const (
	maxVariables = 2000
	askFor       = 2 * time.Second
	askToKeep    = time.Second // before a freeze, which waits for it
	trimFor      = 300 * time.Millisecond
)

var (
	errNoVariables = fault.New(fault.Unsupported, "no_variables", "This kernel has no list of variables: only Python kernels that Cellar's images start have one.")
	errOldKernel   = fault.New(fault.Unsupported, "no_variables", "This kernel was started by an earlier version, which has no list of variables. Restart it to have one.")
	errNoAnswer    = fault.New(fault.Conflict, "kernel_busy", "The kernel is busy with something that lets nothing else run. Try again when the cell has ended.")
)

// asking is what the hub keeps of its questions to a kernel's own thread. Its
// fields are guarded by the kernel's mu.
type asking struct {
	turn    chan struct{} // held by who asks for variables: one at a time
	waiting map[uint64]chan json.RawMessage
	last    Variables // what was listed last, in the life that lineage names
	lineage string
}

// Variables lists the kernel's variables, also while a cell runs. A kernel that
// cannot be asked is not woken: what it said last is given instead.
func (l *Live) Variables(ctx context.Context) (Variables, error) {
	l.mu.Lock()
	rec := l.rec
	l.mu.Unlock()
	err := l.mayAsk(rec)
	if err == nil {
		var v Variables
		if v, err = l.list(ctx, askFor); err == nil {
			return v, nil
		}
	}
	if fault.ClassOf(err) == fault.Unsupported || ctx.Err() != nil {
		return Variables{}, err
	}
	v, known := l.lastListed(ctx, rec)
	if !known {
		return Variables{}, err
	}
	v.Live, v.Detail = false, fault.Sentence(err)
	return v, nil
}

func (l *Live) mayAsk(rec Kernel) error {
	spec, known := l.h.specFor(rec)
	switch {
	case known && spec.Language != "python":
		return errNoVariables
	case rec.State == kernel.Hibernated:
		return fault.New(fault.Conflict, "wrong_state", "The kernel is hibernated. Run a cell and it continues with these.")
	case rec.State != kernel.Running:
		return fault.Newf(fault.Conflict, "wrong_state", "The kernel is %s.", rec.State)
	}
	return nil
}

// lastListed is the last list of the kernel's present life: that of the checkpoint
// it sleeps in, or what it said itself.
func (l *Live) lastListed(ctx context.Context, rec Kernel) (Variables, bool) {
	if rec.State == kernel.Hibernated {
		c, err := l.h.Store.Checkpoint(ctx, rec.Project, rec.Checkpoint)
		var m manifest
		if err == nil {
			m, err = l.h.description(ctx, c)
		}
		if err == nil && m.Variables != nil {
			return Variables{Items: m.Variables, Total: len(m.Variables), AsOf: c.CreatedAt}, true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asking.last, l.asking.last.Items != nil && l.asking.lineage == rec.Journal
}

// list asks the kernel. Of several who ask at once, those who come second get what
// the first was told, if it was asked after they came.
func (l *Live) list(ctx context.Context, limit time.Duration) (Variables, error) {
	came := time.Now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case l.asking.turn <- struct{}{}:
		defer func() { <-l.asking.turn }()
	case <-ctx.Done():
		return Variables{}, errNoAnswer
	}
	l.mu.Lock()
	last, lineage := l.asking.last, l.rec.Journal
	fresh := last.AsOf.After(came) && l.asking.lineage == lineage
	l.mu.Unlock()
	if fresh {
		return last, nil
	}
	at := time.Now()
	answer, err := l.askThread(ctx, keep.AskVariables)
	if err != nil {
		return Variables{}, err
	}
	v, err := parseVariables(answer)
	if err != nil {
		return v, err
	}
	v.AsOf, v.Live = at, true
	l.mu.Lock()
	l.asking.last, l.asking.lineage = v, lineage
	l.mu.Unlock()
	return v, nil
}

// askThread asks the thread that a kernel has for it from birth: no cell, no
// history, no journal. The answer is untrusted.
func (l *Live) askThread(ctx context.Context, what string) (json.RawMessage, error) {
	l.mu.Lock()
	link := l.link
	l.hookID++
	id, answer := l.hookID, make(chan json.RawMessage, 1)
	if link != nil && link.Hello.Answers {
		l.asking.waiting[id] = answer
	}
	l.mu.Unlock()
	switch {
	case link == nil:
		return nil, errNoAnswer
	case !link.Hello.Answers:
		return nil, errOldKernel
	}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.asking.waiting, id)
	}()
	if link.Ask(keep.Question{ID: id, Ask: what}) != nil {
		return nil, errNoAnswer
	}
	select {
	case <-ctx.Done():
		return nil, errNoAnswer
	case a := <-answer:
		return a, nil
	}
}

// trim has a kernel that is to be dumped give back memory that is free: it holds
// what was there last, which costs as much as what is in use. A kernel that does
// not answer at once is dumped as it is.
func (l *Live) trim(ctx context.Context) {
	if l.mayAsk(l.Record()) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, trimFor)
	defer cancel()
	_, _ = l.askThread(ctx, keep.AskTrim)
}

// answered takes in what a kernel's thread says.
func (l *Live) answered(a keep.Answer) {
	l.mu.Lock()
	if c := l.asking.waiting[a.ID]; c != nil {
		select {
		case c <- a.Answer:
		default:
		}
	}
	l.mu.Unlock()
	l.signal() // receive may have taken it for the beginning of a record
}

// parseVariables reads a kernel's answer, which may be anything.
func parseVariables(answer json.RawMessage) (v Variables, err error) {
	var said *struct {
		Total int        `json:"total"`
		None  bool       `json:"none"`
		Items []Variable `json:"items"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return v, fault.New(fault.Unavailable, "kernel_answer", "The kernel's list of variables could not be read.")
	}
	if said == nil || said.None {
		return v, errNoVariables
	}
	v.Items = said.Items[:min(len(said.Items), maxVariables)]
	if v.Items == nil {
		v.Items = []Variable{}
	}
	for i := range v.Items {
		o := &v.Items[i]
		for _, text := range []*string{&o.Name, &o.Type, &o.Shape, &o.Value} {
			*text = cut(*text)
		}
		o.Size = max(o.Size, 0)
	}
	v.Total = max(said.Total, len(v.Items))
	return v, nil
}

// variablesIfIdle lists the variables for a checkpoint, nil where they are not
// known: the kernel does not answer at once, or not for all.
func (l *Live) variablesIfIdle(ctx context.Context) []Variable {
	if l.mayAsk(l.Record()) != nil {
		return nil
	}
	v, err := l.list(ctx, askToKeep)
	if err != nil || v.Total > len(v.Items) && len(v.Items) < maxVariables {
		return nil
	}
	return v.Items
}
