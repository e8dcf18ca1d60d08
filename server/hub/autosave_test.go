package hub

import (
	"strings"
	"testing"
	"time"

	"cellar/kernel/wire"
)

func TestHeadline(t *testing.T) {
	for code, want := range map[string]string{
		"":                                "",
		"# only\n\n  # comments":          "",
		"# first\n\n x = 1 \ny = 2":       "x = 1",
		"a\x00b\ufffdc":                   "abc",
		"x = '" + strings.Repeat("ä", 99): "x = '" + strings.Repeat("ä", 34) + "…",
	} {
		if got := headline(code); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}

func TestUnsaved(t *testing.T) {
	var u unsaved
	r := record(wire.Request, `{"code":"x","silent":true}`)
	r.Time = time.Now()
	u.note(r)
	if !u.since.IsZero() {
		t.Error("a silent request counts")
	}
	r = record(wire.Request, `{"code":"y = 1"}`)
	r.Time = time.Now()
	u.note(r)
	if u.since.IsZero() || u.last != "y = 1" {
		t.Errorf("%+v", u)
	}
	if u.saved(); !u.since.IsZero() {
		t.Error("kept, and still unsaved")
	}
}
