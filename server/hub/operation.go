package hub

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"cellar/internal/fault"
)

// Operation is a long action with an ID, progress and an end. It can be polled,
// followed and cancelled.
type Operation struct {
	ID      string
	Project string // who may open it sees the operation
	User    string // or this person alone, of an operation in no project of theirs

	mu      sync.Mutex
	state   OperationState
	changed chan struct{} // closed and replaced at every change
	cancel  context.CancelFunc
}

// OperationState is what is told of an operation.
type OperationState struct {
	ID       string          `json:"id"`
	Done     bool            `json:"done"`
	Progress float64         `json:"progress"`
	Message  string          `json:"message"`
	Error    *Failure        `json:"error"`
	Response json.RawMessage `json:"response"`
	ended    time.Time
}

// Failure is an error as it is told.
type Failure struct {
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

// FailureOf tells err to a person. Its cause, which may name what is not theirs to
// know, is in the log beside the operation's ID.
func FailureOf(err error, id string) *Failure {
	f := &Failure{Code: fault.CodeOf(err), Title: string(fault.ClassOf(err)), Detail: fault.Sentence(err)}
	if fault.ClassOf(err) == fault.Internal {
		f.Detail = "Something went wrong on our side. The server's log has it under " + id + "."
	}
	return f
}

// Step tells how far an operation is.
func (o *Operation) Step(progress float64, message string) {
	o.update(func(s *OperationState) { s.Progress, s.Message = progress, message })
}

func (o *Operation) update(fn func(*OperationState)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fn(&o.state)
	close(o.changed)
	o.changed = make(chan struct{})
}

// State returns the present state and a channel that is closed at the next change.
func (o *Operation) State() (OperationState, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state, o.changed
}

// Cancel asks the action to stop; what it has done is undone.
func (o *Operation) Cancel() { o.cancel() }

// Wait waits for the end.
func (o *Operation) Wait(ctx context.Context) (OperationState, error) {
	for {
		s, changed := o.State()
		if s.Done {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-changed:
		}
	}
}

// Operations are those that run and those that ended within the hour.
type Operations struct {
	mu   sync.Mutex
	list map[string]*Operation
	wg   sync.WaitGroup
	log  *slog.Logger
}

const (
	keepEnded     = time.Hour
	maxOperations = 10_000
)

// Begin runs do on a context of its own: the caller may go away. what names the
// action for the log.
func (os *Operations) Begin(ctx context.Context, project, what string, do func(context.Context, *Operation) (any, error)) *Operation {
	return os.begin(ctx, project, "", what, do)
}

// BeginFor is Begin for what a person does in no project that is theirs.
func (os *Operations) BeginFor(ctx context.Context, u User, what string, do func(context.Context, *Operation) (any, error)) *Operation {
	return os.begin(ctx, "", u.ID, what, do)
}

func (os *Operations) begin(ctx context.Context, project, user, what string, do func(context.Context, *Operation) (any, error)) *Operation {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	o := &Operation{ID: newID(), Project: project, User: user, changed: make(chan struct{}), cancel: cancel}
	o.state.ID = o.ID
	os.mu.Lock()
	os.sweep()
	os.list[o.ID] = o
	os.mu.Unlock()
	os.wg.Go(func() {
		defer cancel()
		start := time.Now()
		v, err := do(ctx, o)
		var body json.RawMessage
		if err == nil && v != nil {
			body, err = json.Marshal(v)
		}
		os.log.Info("operation", "id", o.ID, "project", project, "what", what, "took", time.Since(start), "error", err)
		o.update(func(s *OperationState) {
			s.Done, s.Response, s.ended = true, body, time.Now()
			if err != nil {
				s.Error = FailureOf(err, o.ID)
			} else {
				s.Progress = 1
			}
		})
	})
	return o
}

// sweep forgets operations that ended long ago; the lock is held.
func (os *Operations) sweep() {
	for id, o := range os.list {
		s, _ := o.State()
		if s.Done && (time.Since(s.ended) > keepEnded || len(os.list) > maxOperations) {
			delete(os.list, id)
		}
	}
}

// cancelAll cancels what goes on.
func (os *Operations) cancelAll() {
	os.mu.Lock()
	defer os.mu.Unlock()
	for _, o := range os.list {
		o.Cancel()
	}
}

// Get finds an operation.
func (os *Operations) Get(id string) (*Operation, error) {
	os.mu.Lock()
	defer os.mu.Unlock()
	if o := os.list[id]; o != nil {
		return o, nil
	}
	return nil, fault.New(fault.NotFound, "operation_not_found", "There is no operation by that ID, or it ended long ago.")
}
