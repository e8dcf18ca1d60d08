package keep

import (
	"encoding/json"
	"sync"
)

// Kernels that know how answer questions of the hub by the thread that reads the
// pipes of hooks: also in the middle of a cell, without a trace in its history,
// its outputs or the journal. From the keeper: {"id":1,"ask":"variables"}. From
// the kernel: {"id":1,"answer":...}, null when it does not know the question.

// Questions.
const (
	AskVariables = "variables" // which variables there are
	AskTrim      = "trim"      // has free memory given back: a dump would hold what was in it last
)

// Question is what a hub asks; ID is the hub's, one for each question of a
// connection.
type Question struct {
	ID  uint64 `json:"id"`
	Ask string `json:"ask"`
}

// Answer is what the kernel says to a question. It is untrusted JSON of at most
// maxAnswer bytes; null when the kernel cannot tell.
type Answer struct {
	ID     uint64          `json:"id"`
	Answer json.RawMessage `json:"answer"`
}

const (
	maxAnswer  = 1 << 20 // bytes of a line
	maxAsked   = 8       // open questions of all connections
	maxAnswers = 4       // that wait for a connection to take them
)

// asks are the open questions by the number that the kernel was told.
type asks struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]asked
}

type asked struct {
	id uint64
	to chan<- Answer
}

// add notes a question and gives it the number for the kernel. A kernel that does
// not answer loses its oldest.
func (a *asks) add(id uint64, to chan<- Answer) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	if a.open == nil {
		a.open = map[uint64]asked{}
	}
	a.open[a.last] = asked{id, to}
	if len(a.open) > maxAsked {
		oldest := a.last
		for n := range a.open {
			oldest = min(oldest, n)
		}
		delete(a.open, oldest)
	}
	return a.last
}

// answer hands an answer to who asked. A connection that takes none loses it.
func (a *asks) answer(number uint64, what json.RawMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q, ok := a.open[number]
	if !ok {
		return
	}
	delete(a.open, number)
	select {
	case q.to <- Answer{q.id, what}:
	default:
	}
}

var null = json.RawMessage("null")

// ask puts a question to the kernel; one that cannot answer is answered for.
func (k *Keeper) ask(q Question, to chan<- Answer) {
	k.mu.Lock()
	p := k.kernel
	k.mu.Unlock()
	number := k.asks.add(q.ID, to)
	if p == nil || !p.hooks.ask(number, q.Ask) {
		k.asks.answer(number, null)
	}
}
