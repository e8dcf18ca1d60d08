package hub

import (
	"fmt"
	"runtime"

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

// Available reports whether the machine can give what c asks for at all.
func (h *Hub) Available(c Configuration) bool {
	return c.CPUs <= runtime.NumCPU() && c.GPUs == 0
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
