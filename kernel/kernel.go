// Package kernel says what a kernel is and what a machine must be able to do to
// run one. It knows no users, projects, notebooks or money.
package kernel

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"
)

// ID is a kernel's name towards Jupyter clients. It stays the same through
// freezes, moves and restarts of the hub.
type ID string

// State is what a kernel is at, in our own sense (not Jupyter's busy and idle).
type State string

// States of a kernel.
const (
	Starting   State = "starting"
	Running    State = "running"
	Switching  State = "switching"
	Freezing   State = "freezing"
	Hibernated State = "hibernated"
	Resuming   State = "resuming"
	Dead       State = "dead"
)

var transitions = map[State][]State{
	Starting:   {Running, Dead},
	Running:    {Switching, Freezing, Starting, Resuming, Dead},
	Switching:  {Running, Hibernated, Starting, Dead}, // starting anew: it was lost meanwhile
	Freezing:   {Running, Hibernated, Starting, Dead},
	Hibernated: {Resuming, Starting, Dead},
	Resuming:   {Running, Hibernated, Dead},
	Dead:       {Starting, Resuming},
}

// Can reports whether a kernel in state s may become next.
func (s State) Can(next State) bool { return slices.Contains(transitions[s], next) }

// Limits are the bounds of a container; zero means none.
type Limits struct {
	CPUs   float64 // cores' worth of time per second
	CPUSet string  // which cores, "0-1,4"; empty means any
	Memory int64   // bytes
	Pids   int64   // processes and threads
}

// Mount binds a folder or file of the machine into a container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Network joins a container to a bridge. The zero value means loopback only.
type Network struct {
	Bridge  string // bridge of the machine
	Address string // of the container, with prefix length
	Gateway string
	Veth    string // name of the machine's end
}

// Container is one incarnation of a kernel, or of whatever else runs beside it.
type Container struct {
	Name    string            // unique on the machine
	Labels  map[string]string // found again by List
	Image   string            // reference of the image in the machine's store
	Argv    []string
	Env     []string // added to the image's own
	Dir     string
	UID     uint32 // inside
	UIDBase uint32 // the machine's user that is root inside; 65,536 follow
	Mounts  []Mount
	Limits  Limits
	Network Network
	LogFile string // stdout and stderr of the first process
	// LateKey is what the pager of a hollow dump is told, to find its pages.
	LateKey []byte
	// Wanted is a file of the machine that remembers which memory was asked for
	// first after a Restore, so that it comes sooner the next time; "": none.
	Wanted string
}

// Status is what is known of a container without asking the processes in it.
type Status struct {
	Name    string
	Labels  map[string]string
	Running bool // its first process lives
	PID     int  // on the machine
	// Ended is when its first process ended; zero when it lives, or nobody knows.
	Ended time.Time
}

// Usage is what a container uses at this moment.
type Usage struct {
	CPU    uint64 // nanoseconds of CPU time so far
	Memory int64  // bytes in use, without reclaimable file pages
	Files  int64  // bytes of those file pages
	// Peak is the most bytes in use at any one moment since ResetPeak, file pages
	// with them; 0 where the machine's kernel does not count it.
	Peak  int64
	Limit int64
	Pids  int64
	OOMs  uint64 // how often the limit killed something
}

// Freeze says how a container is dumped.
type Freeze struct {
	Dir   string // absolute folder for the dump files; made by the runtime
	Leave bool   // let it go on afterwards
	// Paused runs while nothing in the container moves, before a dump with Leave:
	// what belongs to the same moment is copied here.
	Paused func() error
}

// Door leads to the loopback of a container.
type Door interface {
	Dial(ctx context.Context, port int) (net.Conn, error)
	Close() error
}

// Runtime runs containers. Create and Restore either leave one running
// container or none; Freeze without Leave leaves a complete dump and no
// container, or a running container.
type Runtime interface {
	Create(ctx context.Context, c Container) error
	Restore(ctx context.Context, c Container, dir string) error
	Freeze(ctx context.Context, name string, f Freeze) error
	// Unpause lets a container go on that Freeze had paused for a dump whose asker
	// is gone; one that runs is left as it is.
	Unpause(ctx context.Context, name string) error
	// Late reports whether Restore would let the processes of a dump begin before
	// their memory is there: then its pages files may be hollow.
	Late(dir string) bool
	// Drained waits until a restored container needs its dump no more: large
	// memory comes after its processes have begun. An error means that it will
	// not come, and that the container has to be given up for its dump. Freeze
	// waits by itself.
	Drained(ctx context.Context, name string) error
	// Draining names the containers whose memory is still coming, and the folders
	// it comes from.
	Draining() (map[string]string, error)
	Update(ctx context.Context, name string, l Limits) error
	// Dial connects to a TCP port on the container's own loopback.
	Dial(ctx context.Context, name string, port int) (net.Conn, error)
	// Door keeps the way to a container's loopback open, for many dials.
	Door(ctx context.Context, name string) (Door, error)
	// Remove kills whatever runs and forgets the container; one that is not
	// there is no error.
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]Status, error)
	Usage(ctx context.Context, name string) (Usage, error)
	// ResetPeak begins to count Usage.Peak anew. Where the machine's kernel cannot,
	// Peak stays 0, which is no error: Usage can still be asked now and then.
	ResetPeak(ctx context.Context, name string) error
	// Exits sends the names of containers as their first process ends, until
	// ctx is done.
	Exits(ctx context.Context) (<-chan string, error)
}

// Check reports what is wrong with l.
func (l Limits) Check() error {
	if l.CPUs < 0 || l.Memory < 0 || l.Pids < 0 {
		return fmt.Errorf("negative limit")
	}
	return nil
}
