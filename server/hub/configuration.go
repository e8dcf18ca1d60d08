package hub

import (
	"fmt"
	"math"
	"regexp"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Configuration is a named size.
type Configuration struct {
	Name           string  `json:"name"`
	CPUs           int     `json:"cpus"`
	Memory         int64   `json:"memory"` // bytes
	GPUs           int     `json:"gpus"`
	UnitsPerSecond float64 `json:"units_per_second"`
	Description    string  `json:"description,omitempty"`
}

const pidsPerKernel = 2048

// DefaultConfigurations gives c1.1, c1.2, c1.4 ... as far as the machine has
// cores: 2 GiB for each core, at most three quarters of the memory.
func DefaultConfigurations(memory int64) []Configuration {
	var out []Configuration
	for n := 1; n <= runtime.NumCPU(); n *= 2 {
		out = append(out, Configuration{
			Name: fmt.Sprintf("c1.%d", n), CPUs: n, Memory: min(int64(n)<<31, memory/4*3), UnitsPerSecond: float64(n),
		})
	}
	return out
}

// Bounds of what an operator may call or ask for.
const (
	maxDescription = 200
	leastMemory    = 64 << 20 // an interpreter needs as much to start
)

var configurationName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)

// CheckConfigurations reports what is wrong with an operator's list: the first
// mistake, by the name or the place of the entry.
func CheckConfigurations(list []Configuration) error {
	no := func(format string, args ...any) error {
		return fault.Newf(fault.Invalid, "configurations_invalid", format, args...)
	}
	if len(list) == 0 {
		return no("The list of configurations is empty.")
	}
	seen := map[string]bool{}
	for i, c := range list {
		switch {
		case !configurationName.MatchString(c.Name):
			return no("The name %q of configuration %d is not one: up to 32 letters, digits, dots, dashes and underscores, a letter or digit first.", c.Name, i+1)
		case seen[c.Name]:
			return no("There are two configurations with the name %q.", c.Name)
		case c.CPUs <= 0:
			return no("Configuration %q needs at least one core in cpus.", c.Name)
		case c.Memory < leastMemory:
			return no("Configuration %q has %d bytes of memory; %d (64 MiB) are the least.", c.Name, c.Memory, leastMemory)
		case c.GPUs < 0:
			return no("Configuration %q has less than no GPU.", c.Name)
		case !(c.UnitsPerSecond > 0) || math.IsInf(c.UnitsPerSecond, 0):
			return no("Configuration %q needs a price above zero in units_per_second.", c.Name)
		case c.UnitsPerSecond > maxPrice || !priceIsWhole(c.UnitsPerSecond):
			return no("The price of configuration %q has more than three decimals, or is above a million.", c.Name)
		case utf8.RuneCountInString(c.Description) > maxDescription || strings.ContainsFunc(c.Description, unicode.IsControl):
			return no("The description of configuration %q is not one line of up to %d characters.", c.Name, maxDescription)
		}
		seen[c.Name] = true
	}
	return nil
}

// Configuration finds a configuration by name; empty means the default.
func (h *Hub) Configuration(name string) (Configuration, error) {
	if name == "" {
		name = h.Default
	}
	for _, c := range h.Configurations {
		if c.Name == name {
			return c, nil
		}
	}
	return Configuration{}, fault.Newf(fault.Invalid, "unknown_configuration", "There is no configuration %q on this server.", name)
}

// Offer finds a configuration for something new: one that the machine has.
// What exists already keeps its own, which an earlier machine may have had.
func (h *Hub) Offer(name string) (Configuration, error) {
	c, err := h.Configuration(name)
	if err == nil && !h.Available(c) {
		err = fault.Newf(fault.Unavailable, "configuration_unavailable", "This machine cannot give %s.", c.Name)
	}
	return c, err
}

// Available reports whether the machine can give what c asks for at all.
func (h *Hub) Available(c Configuration) bool {
	most, memory, cpus := h.capacity()
	return c.Fits(h.MachineMemory) && !(memory && c.Memory > most.memory) && !(cpus && c.CPUs > most.cpus)
}

// Fits reports whether this machine, with so much memory (0: not known), can
// give what c asks for.
func (c Configuration) Fits(memory int64) bool {
	return c.CPUs <= runtime.NumCPU() && c.GPUs == 0 && (memory == 0 || c.Memory <= memory)
}

// FirstThatFits is the default configuration of a list; empty if none fits.
func FirstThatFits(list []Configuration, memory int64) string {
	for _, c := range list {
		if c.Fits(memory) {
			return c.Name
		}
	}
	return ""
}

// limits places c on the cores with the fewest kernels.
func (h *Hub) limits(c Configuration, self *Live) kernel.Limits {
	used := make([]int, runtime.NumCPU())
	h.mu.Lock()
	for _, l := range h.live {
		if l == self {
			continue
		}
		for _, core := range l.cores() {
			if core < len(used) {
				used[core]++
			}
		}
	}
	h.mu.Unlock()
	set := ""
	var cores []int
	for range min(c.CPUs, len(used)) {
		best := -1
		for i, n := range used {
			if n >= 0 && (best < 0 || n < used[best]) {
				best = i
			}
		}
		used[best] = -1
		cores = append(cores, best)
		if set != "" {
			set += ","
		}
		set += fmt.Sprint(best)
	}
	if self != nil {
		self.setCores(cores)
	}
	return kernel.Limits{CPUs: float64(c.CPUs), CPUSet: set, Memory: c.Memory, Pids: pidsPerKernel}
}
