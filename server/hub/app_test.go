package hub

import (
	"context"
	"io"
	"net"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
)

// oneListens is a Runtime in which one container has something on one port.
type oneListens struct {
	kernel.Runtime
	list      []kernel.Status
	container string
	asked     []string
	other     net.Conn // the far end of the last connection
}

func (r *oneListens) List(context.Context) ([]kernel.Status, error) { return r.list, nil }

func (r *oneListens) Dial(_ context.Context, name string, port int) (net.Conn, error) {
	r.asked = append(r.asked, name+":"+strconv.Itoa(port))
	if name != r.container {
		return nil, syscall.ECONNREFUSED
	}
	var near net.Conn
	near, r.other = net.Pipe()
	return near, nil
}

func appHub(listens string) (*Hub, *oneListens) {
	status := func(name, kind, project string, running bool) kernel.Status {
		return kernel.Status{Name: name, Running: running, Labels: map[string]string{"cellar.kind": kind, "cellar.project": project}}
	}
	r := &oneListens{container: listens, list: []kernel.Status{
		status("k1", "kernel", "p", true), status("k2", "kernel", "p", true), status("k3", "kernel", "p", false), status("instance", "node", "p", true),
		status("shells", "terminal", "p", true), status("foreign", "kernel", "q", true), status("foreign-shells", "terminal", "q", true),
	}}
	h := &Hub{Runtime: r, live: map[kernel.ID]*Live{}}
	for i, k := range []Kernel{
		{ID: "1", Project: "p", Container: "k1", State: kernel.Running}, {ID: "2", Project: "p", Container: "k2", State: kernel.Running}, {ID: "3", Project: "p", Container: "k3", State: kernel.Running},
		{ID: "4", Project: "p", State: kernel.Hibernated}, {ID: "5", Project: "q", Container: "foreign", State: kernel.Running},
	} {
		k.CreatedAt = time.Unix(int64(i), 0)
		h.live[k.ID] = h.newLive(k)
	}
	return h, r
}

func TestWhereAnApplicationIsLookedFor(t *testing.T) {
	p := Project{ID: "p"}
	for container, want := range map[string][]string{
		"shells": {"shells:8000"}, "k2": {"shells:8000", "k2:8000"}, "k1": {"shells:8000", "k2:8000", "k1:8000"},
		"k3": {"shells:8000", "k2:8000", "k1:8000"}, "foreign": {"shells:8000", "k2:8000", "k1:8000"}, "instance": {"shells:8000", "k2:8000", "k1:8000"},
	} {
		h, r := appHub(container)
		conn, err := h.DialApp(t.Context(), p, 8000)
		if found := want[len(want)-1] == container+":8000"; (err == nil) != found || (!found && fault.CodeOf(err) != NothingListens) {
			t.Errorf("in %s: %v", container, err)
		}
		if !slices.Equal(r.asked, want) {
			t.Errorf("in %s: asked %v, want %v", container, r.asked, want)
		}
		if conn != nil {
			conn.Close()
		}
		if len(h.apps.n)+len(h.apps.conns) != 0 {
			t.Errorf("in %s: still counted: %v", container, h.apps.n)
		}
	}
	h, r := appHub("shells")
	for port, code := range map[int]string{0: "port_invalid", -1: "port_invalid", 65536: "port_invalid", 7397: "port_reserved", 7398: "port_reserved", 7399: "port_reserved"} {
		if _, err := h.DialApp(t.Context(), p, port); fault.CodeOf(err) != code {
			t.Errorf("port %d: %v", port, err)
		}
	}
	if len(r.asked) != 0 {
		t.Errorf("asked for %v", r.asked)
	}
}

func TestConnectionsToApplicationsAreBounded(t *testing.T) {
	h, _ := appHub("shells")
	p := Project{ID: "p"}
	var open []net.Conn
	for range maxAppConns {
		c, err := h.DialApp(t.Context(), p, 8000)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	if _, err := h.DialApp(t.Context(), p, 8000); fault.CodeOf(err) != "too_many_connections" || fault.ClassOf(err) != fault.Unavailable {
		t.Fatalf("one too many: %v", err)
	}
	if _, err := h.DialApp(t.Context(), Project{ID: "q"}, 8000); fault.CodeOf(err) != NothingListens {
		t.Errorf("another project: %v", err)
	}
	open[0].Close()
	open[0].Close() // counts once
	c, err := h.DialApp(t.Context(), p, 8000)
	if err != nil {
		t.Fatalf("after one was closed: %v", err)
	}
	if _, err := h.DialApp(t.Context(), p, 8000); err == nil {
		t.Error("closing twice makes room for two")
	}
	for _, c := range append(open, c) {
		c.Close()
	}
	if len(h.apps.n)+len(h.apps.conns) != 0 {
		t.Errorf("still counted: %v", h.apps.n)
	}
}

func TestAFreezeEndsConnectionsToItsApplications(t *testing.T) {
	h, r := appHub("k1")
	c, err := h.DialApp(t.Context(), Project{ID: "p"}, 8000)
	if err != nil {
		t.Fatal(err)
	}
	h.apps.drop("k2")
	go r.other.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("another container: %v", err)
	}
	h.apps.drop("k1")
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it is still open")
	}
}
