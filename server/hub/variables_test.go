package hub

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/keep"
)

// What a kernel says of its variables may be anything.
func TestVariablesOfHostileKernels(t *testing.T) {
	many := make([]Variable, 3*maxVariables)
	for i := range many {
		many[i] = Variable{Name: strings.Repeat("é", 10_000), Type: strings.Repeat("t", 10_000), Value: strings.Repeat("v", 10_000), Size: -5}
	}
	tooMany, _ := json.Marshal(map[string]any{"items": many, "total": 3})
	for answer, want := range map[string]string{
		"null": "no_variables", `{"none":true}`: "no_variables", "[]": "kernel_answer", "7": "kernel_answer", `{"items":7}`: "kernel_answer",
		`{"items":[{"name":7}]}`: "kernel_answer", `{"total":"x"}`: "kernel_answer",
		"{}": "0 of 0", `{"total":5}`: "0 of 5", `{"total":-5,"items":[{"name":"a"}]}`: "1 of 1", string(tooMany): "2000 of 2000",
	} {
		v, err := parseVariables(json.RawMessage(answer))
		got := fault.CodeOf(err)
		if err == nil {
			got = fmt.Sprintf("%d of %d", len(v.Items), v.Total)
		}
		if got != want {
			t.Errorf("%.50s: %s, want %s", answer, got, want)
		}
		for _, o := range v.Items {
			if len(o.Name)+len(o.Type)+len(o.Value) > 3*600 || o.Size < 0 {
				t.Fatalf("%.50s: %d bytes of name, size %d", answer, len(o.Name), o.Size)
			}
		}
	}
}

func TestDiffVariables(t *testing.T) {
	list := func(s ...string) (out []Variable) { // name, type, shape, value
		for _, v := range s {
			f := strings.Split(v, "|")
			out = append(out, Variable{Name: f[0], Type: f[1], Shape: f[2], Value: f[3]})
		}
		return out
	}
	now := list("same|int||1", "x|int||2", "new|int||3", "grown|list|(2)|[1, 2]", "older|list|(1)|[1]", "kind|float||1", "here|set|(0)|set()", "bare|Thing||")
	then := list("same|int||1", "x|int||1", "gone|str||'a'", "grown|list|(1)|[1]", "older|list|(1)|", "kind|int||1", "here|set|(0)|set()", "bare|Thing||")
	want := []VariableChange{{"x", "2", "1"}, {"new", "3", ""}, {"grown", "list (2) [1, 2]", "list (1) [1]"}, {"kind", "1", "1"}, {"gone", "", "'a'"}}
	if got := diffVariables(now, then, false); !reflect.DeepEqual(got, want) {
		t.Errorf("whole lists: %+v", got)
	}
	if got := diffVariables(now, then, true); !reflect.DeepEqual(got, []VariableChange{want[0], want[2], want[3]}) {
		t.Errorf("lists that are cut: %+v", got)
	}
	now[0].Size, then[0].Partial = 5, true
	if got := diffVariables(now[:1], then[:1], false); got == nil || len(got) != 0 {
		t.Errorf("of another size: %+v", got)
	}
}

// A kernel that cannot be asked gives its last list, of this life only, and is
// never woken for it.
func TestLastVariables(t *testing.T) {
	python, r := spec("python3", "Python 3"), spec("ir", "R")
	python.Language, r.Language = "python", "R"
	h := &Hub{specs: offer([]Image{{Name: "both", Ref: "b:1@sha256:b", Specs: []KernelSpec{python, r}}})}
	l := h.newLive(Kernel{Spec: "python3", Image: "b:1@sha256:b", State: kernel.Switching, Journal: "journal-1"})
	if _, err := l.Variables(t.Context()); fault.CodeOf(err) != "wrong_state" {
		t.Errorf("never asked: %v", err)
	}
	at := time.Now().Add(-time.Hour)
	l.asking.last, l.asking.lineage = Variables{Items: []Variable{{Name: "x"}}, Total: 1, AsOf: at, Live: true}, "journal-1"
	for state, says := range map[kernel.State]string{kernel.Switching: "switching", kernel.Running: "busy"} { // no link: no answer
		l.rec.State = state
		v, err := l.Variables(t.Context())
		if err != nil || v.Live || len(v.Items) != 1 || !v.AsOf.Equal(at) || !strings.Contains(v.Detail, says) {
			t.Errorf("%s: %+v, %v", state, v, err)
		}
	}
	l.rec.Journal = "journal-2"
	if v, err := l.Variables(t.Context()); err == nil {
		t.Errorf("the list of another life: %+v", v)
	}
	l.rec.Spec = "ir"
	if _, err := l.Variables(t.Context()); fault.ClassOf(err) != fault.Unsupported {
		t.Errorf("R: %v", err)
	}
	if len(l.asking.waiting) != 0 {
		t.Error("questions are left over")
	}
	l.answered(keep.Answer{ID: 7}) // nobody asked
}
