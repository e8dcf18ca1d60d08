package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"cellar/internal/fault"
)

func TestClassOf(t *testing.T) {
	missing := fault.New(fault.NotFound, "kernel_missing", "There is no such kernel.")
	cases := []struct {
		name string
		err  error
		want fault.Class
		code string
	}{
		{"nil", nil, "", ""},
		{"made", missing, fault.NotFound, "kernel_missing"},
		{"wrapped by fmt", fmt.Errorf("open: %w", missing), fault.NotFound, "kernel_missing"},
		{"outermost decides", fault.Wrap(fault.Conflict, "busy", "Busy.", missing), fault.Conflict, "busy"},
		{"joined", errors.Join(errors.New("x"), missing), fault.NotFound, "kernel_missing"},
		{"bare class", fmt.Errorf("x: %w", fault.Exhausted), fault.Exhausted, "exhausted"},
		{"zero value", &fault.Error{}, fault.Internal, "internal"},
		{"not exist", &fs.PathError{Op: "open", Err: fs.ErrNotExist}, fault.NotFound, "not_found"},
		{"exist", fs.ErrExist, fault.Conflict, "conflict"},
		{"permission", fs.ErrPermission, fault.Denied, "denied"},
		{"deadline", context.DeadlineExceeded, fault.Unavailable, "unavailable"},
		{"unknown", errors.New("x"), fault.Internal, "internal"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := fault.ClassOf(c.err); got != c.want {
				t.Errorf("class %q, want %q", got, c.want)
			}
			if got := fault.CodeOf(c.err); got != c.code {
				t.Errorf("code %q, want %q", got, c.code)
			}
		})
	}
}

func TestIsAndAs(t *testing.T) {
	cause := errors.New("disk on fire")
	err := fmt.Errorf("save: %w", fault.Wrap(fault.Unavailable, "disk", "The disk does not answer.", cause))
	if !errors.Is(err, fault.Unavailable) || errors.Is(err, fault.NotFound) {
		t.Error("errors.Is does not see the class")
	}
	if !errors.Is(err, cause) {
		t.Error("errors.Is does not see the cause")
	}
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != "disk" {
		t.Error("errors.As does not find the error")
	}
	if fault.Wrap(fault.Internal, "x", "x", nil) != nil {
		t.Error("wrapping nil gives an error")
	}
}

func TestSentenceHidesTheCause(t *testing.T) {
	err := fault.Wrap(fault.Internal, "store", "The record could not be read.", errors.New("/var/lib/secret"))
	if got := fault.Sentence(err); strings.Contains(got, "secret") || got == "" {
		t.Errorf("sentence %q", got)
	}
	if got := fault.Detail(err); !strings.Contains(got, "secret") {
		t.Errorf("detail %q lacks the cause", got)
	}
	for _, c := range fault.Classes() {
		if fault.Sentence(c) == "" {
			t.Errorf("class %s has no sentence", c)
		}
	}
}
