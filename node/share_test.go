package node

import (
	"math/rand/v2"
	"strings"
	"testing"

	"cellar/internal/fault"
)

func TestShares(t *testing.T) {
	for want, list := range map[string][]Share{
		"":                {{"a", 0, 90}, {"a", 1, 10}},
		"targets_number":  {},
		"percent_sum":     {{"a", 0, 90}},
		"percent_invalid": {{"a", 0, 150}, {"b", 0, -50}},
		"target_twice":    {{"a", 1, 50}, {"a", 1, 50}},
	} {
		if err := CheckShares(list); fault.CodeOf(err) != want {
			t.Errorf("%v: %v, want %s", list, err, want)
		}
	}
	if err := CheckShares(make([]Share, maxShares+1)); fault.CodeOf(err) != "targets_number" {
		t.Error(err)
	}
}

func TestPick(t *testing.T) {
	list := []Share{{"a", 1, 0}, {"a", 2, 70}, {"b", 0, 30}, {"c", 0, 0}}
	got := map[string]int{}
	for roll := range 100 {
		got[Pick(list, roll).Target()]++
	}
	if got["a@2"] != 70 || got["b"] != 30 || len(got) != 2 {
		t.Errorf("%v", got)
	}
	for range 1000 {
		if s := Pick(list, rand.IntN(1<<30)); s.Percent == 0 {
			t.Errorf("a target of 0 %%: %v", s)
		}
	}
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"a", "a@1", "a@", "@", "a@-1", "a@99999999999999999999", "a@1@2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		node, revision, err := ParseTarget(s)
		if err != nil {
			return
		}
		if revision < 0 || strings.Contains(node, "@") || (revision == 0) == strings.Contains(s, "@") {
			t.Errorf("%q: %q %d", s, node, revision)
		}
	})
}
