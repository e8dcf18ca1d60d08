package acceptance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type variables struct {
	Items []struct {
		Name, Type, Shape, Value string
		Size                     int64
		Partial                  bool
	}
	Total  int
	AsOf   time.Time `json:"as_of"`
	Live   bool
	Detail string
}

func (v variables) line(name string) string {
	for _, o := range v.Items {
		if o.Name == name {
			return strings.TrimSpace(fmt.Sprint(o.Type, " ", o.Shape, " ", o.Value))
		}
	}
	return ""
}

func (h *hub) variables(project, kernel string) (v variables) {
	h.t.Helper()
	h.Want(200, "GET", h.path(project, kernel, "variables"), nil, &v)
	return v
}

const manyThings = `
import os, sys, threading, time
import numpy as np, pandas as pd
n = 41
words = ['a', 'b']; words.append(words)
grid = np.arange(12.).reshape(3, 4)
big = np.zeros(10 * 2**30 // 8)
frame = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})
column = frame['a']
frozen = pd.Series(pd.Categorical(['u', 'v', 'u']), index=pd.MultiIndex.from_product([[1], [1, 2, 3]]))
mapped = np.memmap('mapped', 'u1', 'w+', shape=(1 << 20,)); seen = np.asarray(mapped); os.truncate('mapped', 0)
touched = []
class Hostile(dict):
    def bad(self, *args): touched.append(1); open('touched', 'w').close(); os._exit(9)
    __repr__ = __len__ = __iter__ = __getattribute__ = __hash__ = __eq__ = __sizeof__ = bad
    __class__ = property(bad)
hostile = Hostile(a=1)
inside = [hostile, {'k': hostile}]
hidden_before = (len(In), get_ipython().execution_count)
`

// TestVariables: a kernel's variables are listed silently, by C's own functions,
// also while a cell runs; a kernel that sleeps is not woken for it.
func TestVariables(t *testing.T) {
	h := startHub(t)
	p, k := h.project("Variables")
	s := h.Open(p, k)
	s.Exec("pass")
	if v := h.variables(p, k); v.Total != 0 || !v.Live || len(v.Items) != 0 {
		t.Errorf("at first: %+v", v)
	}
	if got := s.Exec(manyThings); got != "" {
		t.Fatal(got)
	}
	before := h.kernel(p, k)
	v := h.variables(p, k)
	for name, want := range map[string]string{
		"n": "int  41", "words": "list (3) ['a', 'b', […]]", "grid": "ndarray (3, 4) float64 [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, …]",
		"big": "ndarray (1342177280,) float64 [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, …]", "frame": "DataFrame (2, 2) columns ['a', 'b']",
		"column": "Series (2,) int64 [1, 2]", "frozen": "Series (3,)", "mapped": "memmap (1048576,) uint8", "seen": "ndarray (1048576,) uint8",
		"hostile": "Hostile (1)", "inside": "list (2) [<Hostile>, {'k': <Hostile>}]", "np": "", "In": "", "exit": "",
	} {
		if got := v.line(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, o := range v.Items {
		if o.Name == "big" && o.Size != 10<<30 {
			t.Errorf("big: %d bytes", o.Size)
		}
	}
	if after := h.kernel(p, k); after.ExecutionState != "idle" || !after.LastActivity.Equal(before.LastActivity) {
		t.Errorf("asking is work: %+v, %+v", before, after)
	}
	if got := s.Exec("(len(In), get_ipython().execution_count) == (hidden_before[0] + 1, hidden_before[1] + 1), touched, os.path.exists('touched')"); got != "(True, [], False)" {
		t.Errorf("asking left something behind: %s", got)
	}

	t.Run("while a cell runs", func(t *testing.T) {
		h.T = t
		id := s.Send("within = 'a cell'; open('begun', 'w').close()\nwhile not os.path.exists('enough'): time.sleep(.01)", "")
		soon(t, func() bool { return h.exists(p, "begun") })
		if v := h.variables(p, k); !v.Live || v.line("within") != "str  'a cell'" {
			t.Errorf("%q, live %v, %s", v.line("within"), v.Live, v.Detail)
		}
		if err := os.WriteFile(filepath.Join(h.data, "projects", p, "files", "enough"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		s.Wait(id)
	})
	t.Run("while C lets nothing else run", func(t *testing.T) {
		h.T = t
		before := h.variables(p, k)
		s.Send("open('stuck', 'w').close()\nsum(range(10**11))", "")
		soon(t, func() bool { return h.exists(p, "stuck") })
		var v variables
		soon(t, func() bool { v = h.variables(p, k); return !v.Live })
		if v.line("n") != "int  41" || v.AsOf.Before(before.AsOf) || !strings.Contains(v.Detail, "busy") {
			t.Errorf("n %q, as of %s, %s", v.line("n"), v.AsOf, v.Detail)
		}
	})
	h.Want(200, "POST", "/projects/"+p+"/api/kernels/"+k+"/restart", nil, nil)
	s.Exec("life = 2")
	if v := h.variables(p, k); v.Total != 1 || v.line("life") != "int  2" {
		t.Errorf("after a restart: %+v", v)
	}

	t.Run("hibernated", func(t *testing.T) {
		h.T = t
		h.MustRun(h.path(p, k, "hibernate"), nil, nil)
		v := h.variables(p, k)
		if v.Live || v.line("life") != "int  2" || v.AsOf.IsZero() || !strings.Contains(v.Detail, "hibernated") {
			t.Errorf("%+v", v)
		}
		if state := h.kernel(p, k).State; state != "hibernated" {
			t.Errorf("asking made it %s", state)
		}
		s.Exec("life += 1")
		if v := h.variables(p, k); !v.Live || v.line("life") != "int  3" {
			t.Errorf("awake again: %+v", v)
		}
	})
}
