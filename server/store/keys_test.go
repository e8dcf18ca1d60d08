package store

import (
	"errors"
	"testing"

	"cellar/internal/fault"
)

func TestKeys(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	_, err := s.Key(ctx, "tenant", "a")
	class(t, "none yet", err, fault.NotFound)
	ok(t, s.PutKey(ctx, "tenant", "a", []byte("1")))
	ok(t, s.PutKey(ctx, "project", "a", []byte("2")))
	class(t, "there already", s.PutKey(ctx, "tenant", "a", []byte("3")), fault.Conflict)
	twice := func(_, _ string, b []byte) ([]byte, error) { return append(b, b...), nil }
	ok(t, s.ReplaceKeys(ctx, twice))
	n := 0
	err = s.ReplaceKeys(ctx, func(kind, id string, b []byte) ([]byte, error) {
		if n++; n == 2 {
			return nil, errors.New("no")
		}
		return twice(kind, id, b)
	})
	if err == nil {
		t.Error("half of the keys were replaced")
	}
	for kind, want := range map[string]string{"tenant": "11", "project": "22"} {
		got, err := s.Key(ctx, kind, "a")
		ok(t, err)
		same(t, kind, string(got), want)
	}
}
