package hub

import (
	"context"
	"errors"
	"testing"
	"time"

	"cellar/internal/fault"
)

// TestFiling: one at a time has a project's files; who must not wait long makes
// the one that has them hurry; who gives up is not counted any more.
func TestFiling(t *testing.T) {
	f := newFiling()
	first, leave, err := f.enter(t.Context(), "p", false)
	if err != nil || Hurried(first) || !Filing(first) || Filing(t.Context()) {
		t.Fatalf("%v, hurried %v", err, Hurried(first))
	}
	other, leaveOther, err := f.enter(t.Context(), "q", true)
	if err != nil || !Hurried(other) {
		t.Fatalf("another project: %v", err)
	}
	leaveOther()

	waiting, giveUp := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, _, err := f.enter(waiting, "p", true)
		done <- err
	}()
	for !Hurried(first) { // it waits by now
		select {
		case err := <-done:
			t.Fatalf("two have the files of one project: %v", err)
		default:
		}
	}
	giveUp()
	if err := <-done; !errors.Is(err, context.Canceled) || Hurried(first) {
		t.Errorf("%v, hurried %v", err, Hurried(first))
	}
	if !f.busy("p") {
		t.Error("nobody has the files")
	}
	leave()
	if f.busy("p") || f.busy("q") {
		t.Error("somebody still has files")
	}
	select {
	case <-f.wake: // what became pending meanwhile
	default:
		t.Error("nobody looks again")
	}
}

// TestFilesBase: of the checkpoints with files the one whose were kept last.
func TestFilesBase(t *testing.T) {
	now := time.Now()
	kept := func(id string, ago time.Duration) Checkpoint {
		return Checkpoint{ID: id, Files: FilesKept{State: FilesThere, Ended: now.Add(-ago)}}
	}
	list := []Checkpoint{{ID: "me", Files: FilesKept{State: FilesPending}}, kept("old", time.Hour), kept("young", time.Minute), {ID: "failed", Files: FilesKept{State: FilesFailed, Ended: now}}}
	if got := filesBaseOf(list[0], list); got != "young" {
		t.Errorf("%q", got)
	}
	if got := filesBaseOf(list[2], list); got != "old" {
		t.Errorf("%q", got)
	}
	if got := filesBaseOf(list[0], list[:1]); got != "" {
		t.Errorf("%q", got)
	}
}

func TestChoice(t *testing.T) {
	const notebook = "a/work.ipynb"
	for _, c := range []struct {
		choice Choice
		wants  string
	}{
		{Choice{}, ""}, {Choice{Notebook: true, Packages: true}, ""}, {Choice{Files: true}, "data.csv"}, {Choice{Notebooks: true}, "other.ipynb"},
	} {
		got := ""
		for _, name := range []string{notebook, "other.ipynb", "data.csv"} {
			if c.choice.wants(name, notebook) {
				got += name
			}
		}
		if got != c.wants {
			t.Errorf("%+v wants %q", c.choice, got)
		}
	}
}

// TestOverQuota: who is over a limit is told what is used, and what may be.
func TestOverQuota(t *testing.T) {
	err := overQuota("This project uses", 5_200_000_000, 5_000_000_000, 1)
	const want = "This project uses 5.2 GB of 5.0 GB. Delete files, packages or checkpoints that you do not need, or ask the operator for more."
	if got := fault.Sentence(err); got != want || fault.CodeOf(err) != QuotaCode {
		t.Errorf("%q", got)
	}
	for n, want := range map[int64]string{5_200_000_000: "5.2 GB", 1_500_000: "1.5 MB", 900: "0.9 kB"} {
		if got := inBytes(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
