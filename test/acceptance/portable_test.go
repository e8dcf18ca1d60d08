package acceptance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cellar/internal/testkit"
)

type portableItem struct{ Name, Type, Reason string }

type keptVariables struct {
	ID, Kind string
	Report   struct {
		Python     string
		Packages   map[string]string
		Kept, Left []portableItem
		Imports    int
	}
}

type brought struct {
	Came         int
	Failed, Left []portableItem
	Other        []string
}

// portableThings are values of a notebook: what shares, what refers to others by name,
// and what no file can hold.
const portableThings = `import numpy as np, math as m, threading, collections, sqlite3
from sklearn.linear_model import LinearRegression
x = 41
def f(): return x + 1
class Shape:
    def __init__(self, n): self.n, self.parts = n, [n]
    def area(self): return f() * self.n
    def __eq__(self, other): return self.n == other.n
shape = Shape(2); parts = shape.parts; both = [shape, parts]
array = np.arange(1_000_000); again = array; ring = []; ring.append(ring)
model = LinearRegression().fit([[0], [1]], [0, 2])
def counter():
    n = 0
    def inc():
        nonlocal n
        n += 1
        return n
    return inc
count = counter(); count()
Point = collections.namedtuple('Point', 'p q'); point = Point(1, 2)
_mine = 'underscore'
gen = (i for i in range(9)); lock = threading.Lock(); file = open('/dev/null'); base = sqlite3.connect(':memory:')
class Bad:
    def __reduce__(self): raise RuntimeError('not me')
bad = Bad()
class Odd:
    def __repr__(self): raise SystemExit
    __class__ = property(__repr__); __reduce_ex__ = __repr__
odd = Odd()
secret = 'left out'
%state_exclude secret`

// sameThings is true where the values are as they were.
const sameThings = `print(f(), shape.area(), parts is shape.parts and both[0] is shape and both[1] is parts, isinstance(shape, Shape), again is array,
 int(array.sum()) == 499999500000, ring[0] is ring, round(float(model.predict([[3]])[0]), 6), count(), point, isinstance(point, Point), _mine, m.sqrt(9))`

const asTheyWere = "42 84 True True True True True 6.0 2 Point(p=1, q=2) True underscore 3.0"

// TestVariablesOneByOne: a kernel's variables are kept without its process, and
// come back in one that was started afresh, which shares what was shared.
func TestVariablesOneByOne(t *testing.T) {
	h := startHub(t, "--store-after", "1s")
	p, _ := h.project("Portable")
	putNotebook(t, h, p, "keep.ipynb", map[string]string{"a": "x"})
	k := h.session(p, "keep.ipynb")
	h.Open(p, k).Exec(portableThings)
	var kept keptVariables
	h.MustRun("/api/v1/projects/"+p+"/checkpoints", map[string]any{"kernel": k, "variables": true, "name": "before the upgrade"}, &kept)
	var left []string
	for _, v := range kept.Report.Left {
		left = append(left, v.Name)
		if v.Reason == "" {
			t.Errorf("%s is left out without a reason", v.Name)
		}
	}
	slices.Sort(left)
	if want := []string{"bad", "base", "file", "gen", "lock", "odd", "secret"}; !slices.Equal(left, want) {
		t.Errorf("left out: %q, want %q", left, want)
	}
	if kept.Kind != "variables" || kept.Report.Packages["numpy"] == "" || kept.Report.Packages["sklearn"] == "" || kept.Report.Imports < 5 {
		t.Errorf("%+v", kept)
	}
	if got := h.Open(p, k).Exec("next(gen), f()"); got != "(0, 42)" {
		t.Errorf("the kernel goes on with %s", got)
	}
	if list, _ := filepath.Glob(filepath.Join(h.data, "projects", p, "home", ".cellar", "variables-*")); len(list) != 0 {
		t.Errorf("left over: %q", list)
	}
	back := func(when string) {
		t.Helper()
		var b brought
		h.MustRun("/api/v1/projects/"+p+"/checkpoints/"+kept.ID+"/apply", map[string]any{}, &b)
		if len(b.Failed) != 1 || b.Failed[0].Name != "Odd" || len(b.Left) != len(left) || len(b.Other) != 0 || b.Came < 15 {
			t.Errorf("%s: %+v", when, b)
		}
		s := h.Open(p, k)
		if got := strings.TrimSpace(s.Exec(sameThings)); got != asTheyWere {
			t.Errorf("%s: %s", when, got)
		}
		if got := s.Exec("x = 100; f()"); got != "101" { // a name, not a copy
			t.Errorf("%s: f() = %s", when, got)
		}
		if got := s.Exec("'gen' in dir(), 'secret' in dir()"); got != "(False, False)" {
			t.Errorf("%s: %s", when, got)
		}
	}
	h.Open(p, k).Exec("x = 7")
	back("over a running kernel")
	var list struct {
		Items []struct{ ID, Kind, Name string }
	}
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list)
	if !slices.ContainsFunc(list.Items, func(c struct{ ID, Kind, Name string }) bool { return c.Kind == "rollback" }) {
		t.Errorf("what was there before is not kept: %+v", list)
	}
	h.MustRun(h.path(p, k, "hibernate"), nil, nil)
	back("over a sleeping one")
	h.awaitStored(p)
	h.kill(9)
	h.start()
	back("from the archive, with another hub")
	for verb, body := range map[string]any{"branch": map[string]any{}} {
		o := h.Run("/api/v1/projects/"+p+"/checkpoints/"+kept.ID+"/"+verb, body)
		if o.Error == nil || o.Error.Code != "no_process" {
			t.Errorf("%s: %+v", verb, o.Error)
		}
	}
}

// TestVariablesAndBadLuck: whatever happens to the one who keeps variables, the
// kernel goes on and nothing is left over.
func TestVariablesAndBadLuck(t *testing.T) {
	h := startHub(t)
	p, _ := h.project("Portable")
	putNotebook(t, h, p, "keep.ipynb", map[string]string{"a": "x"})
	k := h.session(p, "keep.ipynb")
	s := h.Open(p, k)
	s.Exec("import time, os; x = 41")
	keep := func() testkit.Operation {
		return h.Run("/api/v1/projects/"+p+"/checkpoints", map[string]any{"kernel": k, "variables": true})
	}
	t.Run("a cell is running", func(t *testing.T) {
		id := s.Send("time.sleep(60)", "")
		for deadline, m := time.Now().Add(30*time.Second), struct {
			State string `json:"execution_state"`
		}{}; m.State != "busy"; {
			if time.Now().After(deadline) {
				t.Fatal("the cell does not begin")
			}
			h.Want(200, "GET", "/projects/"+p+"/api/kernels/"+k, nil, &m)
		}
		if o := keep(); o.Error == nil || o.Error.Code != "kernel_busy" {
			t.Errorf("%+v", o.Error)
		}
		h.Want(204, "POST", "/projects/"+p+"/api/kernels/"+k+"/interrupt", nil, nil)
		s.Wait(id)
	})
	t.Run("a value that ends the kernel", func(t *testing.T) {
		s.Exec("class End:\n    def __reduce__(self): os._exit(3)\nend = End()")
		if o := keep(); o.Error == nil {
			t.Error("nothing is said")
		}
		got := ""
		for deadline := time.Now().Add(30 * time.Second); got != "2" && time.Now().Before(deadline); { // it is started again
			got = h.Open(p, k).Exec("1 + 1")
		}
		if got != "2" {
			t.Errorf("1 + 1 = %s", got)
		}
	})
	t.Run("a link where the file is to be", func(t *testing.T) {
		home := filepath.Join(h.data, "projects", p, "home")
		os.RemoveAll(filepath.Join(home, ".cellar"))
		if err := os.Symlink("/etc", filepath.Join(home, ".cellar")); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(filepath.Join(home, ".cellar"))
		if o := keep(); o.Error == nil || !strings.Contains(o.Error.Detail, ".cellar") {
			t.Errorf("%+v", o.Error)
		}
	})
	t.Run("a kernel that lies about its file", func(t *testing.T) {
		s := h.Open(p, k)
		s.Exec("import cellar_kernel.portable as q, os\nreal = q.save\ndef lie(path, *a):\n    os.symlink('/etc/shadow', path)\n    return b'{}'.hex()\nq.save = lie")
		if o := keep(); o.Error == nil {
			t.Error("a link is taken for the file")
		}
		s.Exec("def lie(path, *a):\n    os.mkfifo(path)\n    return b'{}'.hex()\nq.save = lie")
		if o := keep(); o.Error == nil {
			t.Error("a pipe is taken for the file")
		}
		s.Exec("q.save = lambda *a: b'nonsense'.hex()")
		if o := keep(); o.Error == nil || o.Error.Code != "kernel_answer" {
			t.Errorf("%+v", o.Error)
		}
		s.Exec("q.save = real")
	})
	if o := keep(); o.Error != nil {
		t.Errorf("afterwards: %+v", o.Error)
	}
	entries, _ := os.ReadDir(filepath.Join(h.data, "vault"))
	var list struct{ Items []struct{ ID string } }
	h.Want(200, "GET", "/api/v1/projects/"+p+"/checkpoints", nil, &list)
	if len(entries) != len(list.Items) {
		t.Errorf("%d folders for %d checkpoints", len(entries), len(list.Items))
	}
}
