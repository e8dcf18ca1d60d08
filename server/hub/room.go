package hub

import (
	"context"
	"fmt"
	"runtime"

	"cellar/internal/fault"
	"cellar/kernel"
)

// Overcommit is how often memory and cores are given: 1 is as often as there are;
// 0: without a limit.
type Overcommit struct{ Memory, CPUs float64 }

// need is what a configuration reserves.
type need struct {
	memory int64 // bytes
	cpus   int
}

func (c Configuration) need() need { return need{c.Memory, c.CPUs} }

func (n need) plus(o need) need { return need{n.memory + o.memory, n.cpus + o.cpus} }

// capacity is how much can be reserved; false where there is no limit.
func (h *Hub) capacity() (n need, memory, cpus bool) {
	memory, cpus = h.Overcommit.Memory > 0 && h.MachineMemory > 0, h.Overcommit.CPUs > 0
	return need{int64(float64(h.MachineMemory) * h.Overcommit.Memory), int(float64(runtime.NumCPU()) * h.Overcommit.CPUs)}, memory, cpus
}

// reserved is what is held now, or promised to kernels that are about to start;
// what but holds does not count.
func (h *Hub) reserved(but kernel.ID) (n need) {
	names := map[string]int{}
	holds := map[kernel.ID]bool{}
	h.ledger.mu.Lock()
	for _, e := range h.ledger.open {
		holds[kernel.ID(e.Holder)] = true
		if e.Holder != string(but) || but == "" {
			names[e.Configuration]++
		}
	}
	h.ledger.mu.Unlock()
	for name, count := range names {
		if c, err := h.Configuration(name); err == nil {
			n.memory, n.cpus = n.memory+c.Memory*int64(count), n.cpus+c.CPUs*count
		}
	}
	for _, p := range h.line.promised() {
		if !holds[p.id] && p.id != but {
			n = n.plus(p.need)
		}
	}
	return n
}

// fitsNow reports whether what a configuration reserves is free; but gives up
// what it holds.
func (h *Hub) fitsNow(n need, but kernel.ID) bool {
	if h.ledger == nil { // not open yet
		return true
	}
	most, memory, cpus := h.capacity()
	all := h.reserved(but).plus(n)
	return !(memory && all.memory > most.memory) && !(cpus && all.cpus > most.cpus)
}

// FullCode is that of errors for what the machine has no room for now.
const FullCode = "machine_full"

// mayTake refuses at once what there is no room for now, to deeds that cannot
// wait in line.
func (h *Hub) mayTake(c Configuration, by kernel.ID) error {
	if h.fitsNow(c.need(), by) {
		return nil
	}
	return fault.New(fault.Unavailable, FullCode, h.fullSentence(c, by))
}

// fullSentence says why a configuration cannot be had now.
func (h *Hub) fullSentence(c Configuration, but kernel.ID) string {
	most, memory, cpus := h.capacity()
	all := h.reserved(but)
	if memory && all.memory+c.Memory > most.memory {
		return fmt.Sprintf("There is no room for %s now: of the memory that this machine gives %s are free, and it needs %s. Hibernate or shut down what is not needed, or try again later.",
			c.Name, inBytes(max(0, most.memory-all.memory)), inBytes(c.Memory))
	}
	if cpus && all.cpus+c.CPUs > most.cpus {
		return fmt.Sprintf("There is no room for %s now: %d of the cores that this machine gives are free, and it needs %d. Hibernate or shut down what is not needed, or try again later.",
			c.Name, max(0, most.cpus-all.cpus), c.CPUs)
	}
	return ""
}

// Offered is a configuration with whether it can be had.
type Offered struct {
	Configuration
	Available bool   `json:"available" doc:"whether it can be had now"`
	Reason    string `json:"reason,omitempty" doc:"why not"`
}

// Offers say of each configuration whether it can be had now, by a kernel that
// would give up what it holds for it (empty: by a new one).
func (h *Hub) Offers(k kernel.ID) (out []Offered) {
	for _, c := range h.Configurations {
		s := Offered{Configuration: c}
		switch {
		case !h.Available(c):
			s.Reason = h.neverSentence(c)
		case !h.fitsNow(c.need(), k):
			s.Reason = h.fullSentence(c, k)
		default:
			s.Available = true
		}
		out = append(out, s)
	}
	return out
}

// neverSentence says why this machine cannot give a configuration at all.
func (h *Hub) neverSentence(c Configuration) string {
	switch {
	case c.GPUs > 0:
		return "This machine has no GPU that kernels can use."
	case c.CPUs > runtime.NumCPU():
		return fmt.Sprintf("This machine has %d cores.", runtime.NumCPU())
	}
	if c.Memory > h.MachineMemory {
		return fmt.Sprintf("This machine has %s of memory.", inBytes(h.MachineMemory))
	}
	return "The operator gives less of this machine than it needs."
}

// Free is what is left on the machine.
type Free struct {
	Memory      int64   `json:"memory" doc:"bytes that can still be reserved; -1: without a limit"`
	MemoryTotal int64   `json:"memory_total" doc:"bytes that the machine has; 0: not known"`
	MemoryIdle  int64   `json:"memory_idle" doc:"bytes that nothing uses at this moment"`
	CPUs        int     `json:"cpus" doc:"cores that can still be reserved; -1: without a limit"`
	CPUsTotal   int     `json:"cpus_total"`
	CPUsBusy    float64 `json:"cpus_busy" doc:"cores that kernels use at this moment"`
	Disk        int64   `json:"disk" doc:"bytes free where sessions are kept"`
	GPUs        int     `json:"gpus"`
	Waiting     int     `json:"waiting" doc:"kernels in line"`
}

// Free says what is left on the machine.
func (h *Hub) Free(context.Context) (Free, error) {
	most, memory, cpus := h.capacity()
	all := h.reserved("")
	f := Free{Memory: -1, MemoryTotal: h.MachineMemory, MemoryIdle: memoryAvailable(), CPUs: -1, CPUsTotal: runtime.NumCPU(), Waiting: h.line.length()}
	if memory {
		f.Memory = max(0, most.memory-all.memory)
	}
	if cpus {
		f.CPUs = max(0, most.cpus-all.cpus)
	}
	for _, l := range h.LiveOf("") {
		l.mu.Lock()
		if l.rec.Container != "" {
			f.CPUsBusy += l.cpu
		}
		l.mu.Unlock()
	}
	free, err := freeBytes(h.Data)
	f.Disk = int64(free)
	return f, err
}
