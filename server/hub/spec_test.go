package hub

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"cellar/kernel"
)

func spec(name, display string) KernelSpec { return KernelSpec{Name: name, DisplayName: display} }

func TestKernelsOfSeveralImages(t *testing.T) {
	python, r := spec("python3", "Python 3"), spec("ir", "R")
	for name, c := range map[string]struct {
		images []Image
		want   string // offered name = display name @ reference
		start  string
	}{
		"one": {[]Image{{Name: "base", Ref: "b", Specs: []KernelSpec{python}}}, "python3=Python 3@b", "python3"},
		"the first keeps its names": {
			[]Image{{Name: "base", Ref: "b", Specs: []KernelSpec{python}}, {Name: "r", Ref: "r", Specs: []KernelSpec{r, python}}, {Name: "torch", Ref: "t", Specs: []KernelSpec{python}}},
			"ir=R@r python3=Python 3@b python3-r=Python 3, r@r python3-torch=Python 3, torch@t", "python3",
		},
		"no Python in the first": {
			[]Image{{Name: "r", Ref: "r", Specs: []KernelSpec{r}}, {Name: "base", Ref: "b", Specs: []KernelSpec{python}}}, "ir=R@r python3=Python 3@b", "ir",
		},
		"the suffixed name is taken too": {
			[]Image{{Name: "a", Ref: "a", Specs: []KernelSpec{python, spec("python3-b", "Mine")}}, {Name: "b", Ref: "b", Specs: []KernelSpec{python}}},
			"python3=Python 3@a python3-b=Mine@a python3-b-2=Python 3, b@b", "python3",
		},
		"none": {nil, "", ""},
	} {
		specs := offer(c.images)
		var got []string
		for _, key := range slices.Sorted(maps.Keys(specs)) {
			s := specs[key]
			if s.Name != key {
				t.Errorf("%s: %s is kept as %s", name, s.Name, key)
			}
			got = append(got, s.Name+"="+s.DisplayName+"@"+s.Image)
		}
		if all := strings.Join(got, " "); all != c.want {
			t.Errorf("%s: %s, want %s", name, all, c.want)
		}
		if start := defaultSpec(c.images, specs); start != c.start {
			t.Errorf("%s: starts %q, want %q", name, start, c.start)
		}
	}
}

// TestSpecOfRecord: a kernel finds its kernelspec when images were given in
// another order, built anew or taken away.
func TestSpecOfRecord(t *testing.T) {
	python := []KernelSpec{spec("python3", "Python 3")}
	base := Image{Name: "base", Ref: "cellar/base:1@sha256:b1", Specs: python}
	torch := Image{Name: "torch", Ref: "cellar/torch:1@sha256:t1", Specs: python}
	for name, c := range map[string]struct {
		images      []Image
		spec, image string
		want        string // reference, name
	}{
		"as it was":               {[]Image{base, torch}, "python3-torch", torch.Ref, torch.Ref + " python3-torch"},
		"the other order":         {[]Image{torch, base}, "python3-torch", torch.Ref, torch.Ref + " python3"},
		"the other order, back":   {[]Image{base, torch}, "python3", torch.Ref, torch.Ref + " python3-torch"},
		"the other order, first":  {[]Image{torch, base}, "python3", base.Ref, base.Ref + " python3-base"},
		"built anew":              {[]Image{torch, base}, "python3", "cellar/base:1@sha256:b0", base.Ref + " python3-base"},
		"of no image known":       {[]Image{torch, base}, "python3", "other:1@sha256:o", torch.Ref + " python3"},
		"no image has it":         {[]Image{base}, "ir", base.Ref, ""},
		"its image is taken away": {[]Image{base}, "python3-torch", torch.Ref, ""},
	} {
		h := &Hub{specs: offer(c.images)}
		s, ok := h.specFor(Kernel{Spec: c.spec, Image: c.image})
		got := s.Image + " " + s.Name
		if !ok {
			got = ""
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestVariablesThatCannotBeTold: never an empty list, which would say that none
// differs.
func TestVariablesThatCannotBeTold(t *testing.T) {
	python, r := spec("python3", "Python 3"), spec("ir", "R")
	python.Language, r.Language = "python", "R"
	h := &Hub{specs: offer([]Image{{Name: "both", Ref: "b:1@sha256:b", Specs: []KernelSpec{python, r}}})}
	for name, c := range map[string]struct {
		spec  string
		state kernel.State
		then  []Variable
		why   string
	}{
		"another language": {"ir", kernel.Running, nil, "not a Python kernel"},
		"no image has it":  {"julia", kernel.Running, nil, "No image"},
		"on its way":       {"python3", kernel.Freezing, []Variable{}, "does not run"},
		"none kept":        {"python3", kernel.Running, nil, "The checkpoint has no list"},
	} {
		l := h.newLive(Kernel{Spec: c.spec, Image: "b:1@sha256:b", State: c.state})
		if list, why := l.compare(t.Context(), c.then); list != nil || !strings.Contains(why, c.why) {
			t.Errorf("%s: %v, %q", name, list, why)
		}
	}
}
