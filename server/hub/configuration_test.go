package hub

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"cellar/internal/fault"
)

func TestCheckConfigurations(t *testing.T) {
	good := Configuration{Name: "c1.1", CPUs: 1, Memory: 1 << 30, UnitsPerSecond: 1, Description: "Small – for a look"}
	with := func(change func(*Configuration)) []Configuration {
		c := good
		change(&c)
		return []Configuration{{Name: "first", CPUs: 2, Memory: 2 << 30, UnitsPerSecond: 0.25}, c}
	}
	for _, list := range [][]Configuration{{good}, with(func(*Configuration) {}), with(func(c *Configuration) { c.CPUs, c.GPUs = 4096, 1 }), DefaultConfigurations(8 << 30)} {
		if err := CheckConfigurations(list); err != nil {
			t.Errorf("%+v: %v", list, err)
		}
	}
	for says, list := range map[string][]Configuration{
		"is empty":                       nil,
		`"" of configuration 2`:          with(func(c *Configuration) { c.Name = "" }),
		`"a b"`:                          with(func(c *Configuration) { c.Name = "a b" }),
		`"../x"`:                         with(func(c *Configuration) { c.Name = "../x" }),
		`"\x01"`:                         with(func(c *Configuration) { c.Name = "\x01" }),
		"up to 32":                       with(func(c *Configuration) { c.Name = strings.Repeat("x", 33) }),
		`two configurations`:             with(func(c *Configuration) { c.Name = "first" }),
		`"c1.1" needs at least one core`: with(func(c *Configuration) { c.CPUs = 0 }),
		`at least one core`:              with(func(c *Configuration) { c.CPUs = -1 }),
		`has 4 bytes of memory`:          with(func(c *Configuration) { c.Memory = 4 }),
		`has 0 bytes`:                    with(func(c *Configuration) { c.Memory = 0 }),
		`has -1 bytes`:                   with(func(c *Configuration) { c.Memory = -1 }),
		`less than no GPU`:               with(func(c *Configuration) { c.GPUs = -1 }),
		`"c1.1" needs a price`:           with(func(c *Configuration) { c.UnitsPerSecond = 0 }),
		`a price above zero`:             with(func(c *Configuration) { c.UnitsPerSecond = -1 }),
		`more than three decimals`:       with(func(c *Configuration) { c.UnitsPerSecond = 0.0125 }),
		`above a million`:                with(func(c *Configuration) { c.UnitsPerSecond = 2e6 }),
		`needs a price above zero`:       with(func(c *Configuration) { c.UnitsPerSecond = math.NaN() }),
		`price above zero in units_per`:  with(func(c *Configuration) { c.UnitsPerSecond = math.Inf(1) }),
		`not one line`:                   with(func(c *Configuration) { c.Description = "a\nb" }),
		`up to 200`:                      with(func(c *Configuration) { c.Description = strings.Repeat("x", 201) }),
	} {
		if err := CheckConfigurations(list); !errors.Is(err, fault.Invalid) || !strings.Contains(fault.Sentence(err), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
}

// What the machine does not have is known and not given.
func TestWhatTheMachineDoesNotHave(t *testing.T) {
	list := []Configuration{
		{Name: "cores", CPUs: runtime.NumCPU() + 1, Memory: 1 << 30}, {Name: "memory", CPUs: 1, Memory: 8<<30 + 1}, {Name: "gpu", CPUs: 1, Memory: 1 << 30, GPUs: 1},
		{Name: "fits", CPUs: runtime.NumCPU(), Memory: 8 << 30},
	}
	first := FirstThatFits(list, 8<<30)
	if first != "fits" || FirstThatFits(list[:3], 8<<30) != "" || FirstThatFits(list, 0) != "memory" {
		t.Errorf("the first that fits is %q", first)
	}
	h := &Hub{Config: Config{Configurations: list, Default: first, MachineMemory: 8 << 30, DefaultSpec: "python3"}, specs: map[string]KernelSpec{"python3": {Name: "python3"}}}
	if c, err := h.Offer(""); err != nil || c.Name != "fits" || !h.Available(c) {
		t.Errorf("the default: %+v, %v", c, err)
	}
	for _, c := range list[:3] {
		if got, err := h.Configuration(c.Name); err != nil || got != c || h.Available(c) {
			t.Errorf("%s, for what has it already: %+v, %v", c.Name, got, err)
		}
		for deed, err := range map[string]error{"offer": second(h.Offer(c.Name)), "start": second(h.StartKernel(t.Context(), Project{}, "", "", c.Name)), "switch": h.Switch(t.Context(), nil, c.Name, false, nil)} {
			if fault.CodeOf(err) != "configuration_unavailable" {
				t.Errorf("%s %s: %v", deed, c.Name, err)
			}
		}
	}
	if _, err := h.Offer("none"); fault.CodeOf(err) != "unknown_configuration" {
		t.Errorf("an unknown one: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
