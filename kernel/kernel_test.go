package kernel

import "testing"

var states = []State{Starting, Running, Switching, Freezing, Hibernated, Resuming, Dead}

// TestTransitions spells the table out: rows become columns.
func TestTransitions(t *testing.T) {
	want := map[State]string{
		//          S R W F H M D   Starting Running sWitching Freezing Hibernated resuMing Dead
		Starting:   ". x . . . . x",
		Running:    "x . x x . x x",
		Switching:  "x x . . x . x",
		Freezing:   "x x . . x . x",
		Hibernated: "x . . . . x x",
		Resuming:   ". x . . x . x",
		Dead:       "x . . . . x .",
	}
	if len(transitions) != len(states) {
		t.Errorf("%d states have transitions, there are %d", len(transitions), len(states))
	}
	for _, from := range states {
		for i, to := range states {
			if may := want[from][2*i] == 'x'; from.Can(to) != may {
				t.Errorf("%s to %s: Can says %v", from, to, from.Can(to))
			}
		}
	}
	if State("").Can(Running) || Running.Can("") || State("bogus").Can("bogus") {
		t.Error("a state that is none may become something")
	}
}

// TestNoStateIsATrap: from each, a kernel can come to run again.
func TestNoStateIsATrap(t *testing.T) {
	for _, from := range states {
		seen, todo := map[State]bool{}, []State{from}
		for len(todo) > 0 {
			s := todo[0]
			todo = todo[1:]
			if seen[s] {
				continue
			}
			seen[s] = true
			todo = append(todo, transitions[s]...)
		}
		if !seen[Running] || !seen[Dead] {
			t.Errorf("from %s only %v can be reached", from, seen)
		}
	}
}

func TestLimitsCheck(t *testing.T) {
	for _, good := range []Limits{{}, {CPUs: 0.5, CPUSet: "0-1,4", Memory: 1 << 40, Pids: 1}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Limits{{CPUs: -1}, {Memory: -1}, {Pids: -1}} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
