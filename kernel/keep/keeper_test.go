package keep

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cellar/kernel/wire"
)

// kept is a keeper under test.
type kept struct {
	t    *testing.T
	addr string
	dir  string
	stop func() // ends it and waits
}

func keeper(t *testing.T, argv ...string) *kept {
	t.Helper()
	if len(argv) == 0 {
		argv = []string{os.Args[0], "fake-kernel", "{connection_file}"}
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &kept{t: t, addr: ln.Addr().String()}
	ln.Close()
	if k.dir, err = os.MkdirTemp("", "keep"); err != nil { // short: a socket's path has 108 bytes
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			Argv: argv, Dir: k.dir, Runtime: filepath.Join(k.dir, "run"), Journal: filepath.Join(k.dir, "journal"), Listen: k.addr,
			Log: slog.New(slog.DiscardHandler),
		})
	}()
	stopped := false
	k.stop = func() {
		if cancel(); stopped {
			return
		}
		stopped = true
		if err := <-done; err != nil {
			t.Error("Run:", err)
		}
	}
	t.Cleanup(func() { k.stop(); os.RemoveAll(k.dir) })
	return k
}

// open connects from seq on. Until the keeper listens, dialling is refused.
func (k *kept) open(from uint64) *Client {
	k.t.Helper()
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(30 * time.Second); ; {
		if conn, err = net.Dial("tcp4", k.addr); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { conn.Close() })
	c, err := Open(conn, from)
	if err != nil {
		k.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(time.Minute)) // a lost record fails the test instead of hanging it
	return c
}

// noted is a record as the tests look at it.
type noted struct {
	seq     uint64
	channel wire.Channel
	kind    string
	parent  string // msg_id
	text    string
	event   Event
}

func note(r Record) noted {
	h, _ := wire.ParseHeader(r.Message.Header)
	p, _ := wire.ParseHeader(r.Message.Parent)
	n := noted{seq: r.Seq, channel: r.Channel, kind: h.MsgType, parent: p.MsgID}
	if r.Channel == wire.Event {
		json.Unmarshal(r.Message.Content, &n.event)
		n.kind = n.event.Event
		return n
	}
	var c struct{ Text, Value string }
	json.Unmarshal(r.Message.Content, &c)
	n.text = c.Text + c.Value
	return n
}

// until takes records up to one that is kind and, if given, has text.
func until(t *testing.T, c *Client, kind, text string) (out []noted) {
	t.Helper()
	for {
		r, err := c.Next()
		if err != nil {
			t.Fatalf("waiting for %s %s: %v after %+v", kind, text, err, out)
		}
		n := note(r)
		out = append(out, n)
		if n.kind == kind && (text == "" || n.text == text) {
			return out
		}
	}
}

func execute(t *testing.T, c *Client, id, code string) {
	t.Helper()
	header, _ := json.Marshal(wire.Header{MsgID: id, MsgType: "execute_request", Session: "tab"})
	content, _ := json.Marshal(map[string]string{"code": code})
	if err := c.Send(wire.Shell, &wire.Message{Header: header, Content: content}); err != nil {
		t.Fatal(err)
	}
}

// lines checks that the streams in list are 0, 1, 2 ... n-1, of request id.
func lines(t *testing.T, list []noted, id string, n int) {
	t.Helper()
	next := 0
	for _, r := range list {
		if r.kind != "stream" {
			continue
		}
		if r.text != fmt.Sprint(next) || r.parent != id {
			t.Fatalf("line %d is %q of %q", next, r.text, r.parent)
		}
		next++
	}
	if next != n {
		t.Errorf("%d lines, want %d", next, n)
	}
}

func contiguous(t *testing.T, list []noted) {
	t.Helper()
	for i := 1; i < len(list); i++ {
		if list[i].seq != list[i-1].seq+1 {
			t.Errorf("seq %d follows %d", list[i].seq, list[i-1].seq)
		}
	}
}

func TestAThousandLines(t *testing.T) {
	c := keeper(t).open(1)
	start := until(t, c, EventReady, "")
	if start[0].kind != EventStarted || start[0].event.PID == 0 || !strings.Contains(string(start[len(start)-1].event.Info), "fake") {
		t.Errorf("beginning: %+v", start)
	}
	for _, s := range start {
		if s.channel != wire.Event {
			t.Errorf("the keeper's own question shows: %+v", s)
		}
	}
	execute(t, c, "r1", "lines 1000")
	list := until(t, c, "status", "idle")
	lines(t, list, "r1", 1000)
	contiguous(t, append(start, list...))
	if list[0].channel != wire.Request || list[0].kind != "execute_request" {
		t.Errorf("the request does not come first: %+v", list[0])
	}
}

// TestLastWords has a kernel print and end at once: all it said comes before its end.
func TestLastWords(t *testing.T) {
	c := keeper(t).open(1)
	until(t, c, EventReady, "")
	execute(t, c, "r1", "lines 500\nexit 3")
	list := until(t, c, EventExited, "")
	lines(t, list, "r1", 500)
	e := list[len(list)-1].event
	if e.Code != 3 || e.Signal != "" || !strings.Contains(e.Detail, "my last words") {
		t.Errorf("exit event %+v", e)
	}
	if again := keeperHello(t, c); again.Alive || again.Ready {
		t.Errorf("hello after the end: %+v", again)
	}
}

// keeperHello greets the keeper that c is connected to anew.
func keeperHello(t *testing.T, c *Client) Hello {
	t.Helper()
	conn, err := net.Dial("tcp4", c.conn.RemoteAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	again, err := Open(conn, 1)
	if err != nil {
		t.Fatal(err)
	}
	return again.Hello
}

func TestRestart(t *testing.T) {
	c := keeper(t).open(1)
	first := until(t, c, EventReady, "")
	if err := c.Do(OpRestart); err != nil {
		t.Fatal(err)
	}
	second := until(t, c, EventReady, "")
	contiguous(t, append(first, second...))
	var kinds []string
	for _, s := range second {
		kinds = append(kinds, s.kind)
	}
	if got := strings.Join(kinds, " "); got != "exited started ready" {
		t.Errorf("events of a restart: %s", got)
	}
	old, now := first[0].event.PID, second[len(second)-1].event.PID
	if old == now || second[0].event.PID != old || second[0].event.Signal == "" {
		t.Errorf("before %d, exited %+v, now %d", old, second[0].event, now)
	}
	execute(t, c, "r2", "lines 10")
	lines(t, until(t, c, "status", "idle"), "r2", 10)
}

func TestDetachAndComeBack(t *testing.T) {
	k := keeper(t)
	c := k.open(1)
	start := until(t, c, EventReady, "")
	execute(t, c, "r1", "lines 100")
	seen := until(t, c, "stream", "49")
	if err := c.Do(OpDetach); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := c.Next(); err != nil {
			break // what was under way, then the end
		}
	}
	last := seen[len(seen)-1].seq
	c = k.open(last + 1)
	if h := c.Hello; !h.Alive || !h.Ready || h.First != 1 || h.Next <= last || h.PID != start[0].event.PID {
		t.Errorf("hello %+v, last seen %d", h, last)
	}
	rest := until(t, c, "status", "idle")
	contiguous(t, append(seen, rest...))
	lines(t, append(seen, rest...), "r1", 100)
	// Whoever asks from the beginning gets it all again.
	all := until(t, k.open(0), "status", "idle")
	lines(t, all, "r1", 100)
	if all[0].seq != 1 {
		t.Errorf("from 0: the first is %d", all[0].seq)
	}
}

func TestInterrupt(t *testing.T) {
	c := keeper(t).open(1)
	until(t, c, EventReady, "")
	execute(t, c, "r1", "lines 1")
	until(t, c, "status", "idle")
	if err := c.Do(OpInterrupt); err != nil {
		t.Fatal(err)
	}
	until(t, c, "stream", "interrupted")
}

func TestInputGoesBothWays(t *testing.T) {
	c := keeper(t).open(1)
	until(t, c, EventReady, "")
	execute(t, c, "r1", "ask")
	list := until(t, c, "input_request", "")
	if list[len(list)-1].channel != wire.Stdin {
		t.Errorf("asked on %v", list[len(list)-1].channel)
	}
	if err := c.Send(wire.Stdin, &wire.Message{Header: []byte(`{"msg_type":"input_reply"}`), Content: []byte(`{"value":"42"}`)}); err != nil {
		t.Fatal(err)
	}
	until(t, c, "stream", `{"value":"42"}`)
}

func TestForgedMessagesAreDropped(t *testing.T) {
	c := keeper(t).open(1)
	until(t, c, EventReady, "")
	execute(t, c, "r1", "forge\nlines 3")
	lines(t, until(t, c, "status", "idle"), "r1", 3)
}

func TestNoSuchKernel(t *testing.T) {
	c := keeper(t, "/nowhere/kernel").open(1)
	list := until(t, c, EventExited, "")
	if e := list[0].event; len(list) != 1 || e.Code != 127 || !strings.Contains(e.Detail, "/nowhere/kernel") {
		t.Errorf("got %+v", list)
	}
	execute(t, c, "r1", "lines 1") // nobody there: written down, no more
	if list := until(t, c, "execute_request", ""); list[0].channel != wire.Request {
		t.Errorf("got %+v", list)
	}
}

func TestAKernelThatEndsBeforeItSpeaks(t *testing.T) {
	c := keeper(t, "/bin/sh", "-c", "echo no module named kernel >&2; exit 9").open(1)
	list := until(t, c, EventExited, "")
	if e := list[len(list)-1].event; e.Code != 9 || !strings.Contains(e.Detail, "no module named kernel") {
		t.Errorf("got %+v", e)
	}
}

func TestTheKeeperTakesItsKernelAlong(t *testing.T) {
	k := keeper(t)
	c := k.open(1)
	pid := until(t, c, EventReady, "")[0].event.PID
	k.stop()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the kernel lives on: %v", err)
	}
	j := openJournal(t, filepath.Join(k.dir, "journal"), 0)
	_, next := j.Bounds()
	j.Follow(t.Context(), next-1, func(b []byte, _ bool) error {
		if r, err := ParseRecord(b); err != nil || note(r).kind != EventExited {
			t.Errorf("the journal ends with %+v, %v", note(r), err)
		}
		return errEnough
	})
}

// TestTheKeeperHangsUp on whoever does not speak its protocol.
func TestTheKeeperHangsUp(t *testing.T) {
	k := keeper(t)
	until(t, k.open(1), EventReady, "")
	send := func(b ...byte) func(*Client) { return func(c *Client) { c.conn.Write(b) } }
	for name, say := range map[string]func(*Client){
		"an unknown kind":       send(1, 0, 0, 0, '?'),
		"a second hello":        send(3, 0, 0, 0, 'H', '{', '}'),
		"an ack of 3 bytes":     send(4, 0, 0, 0, 'A', 1, 2, 3),
		"a message of no parts": send(4, 0, 0, 0, 'R', 0, 0, 0),
		"no channel":            send(1, 0, 0, 0, 'R'),
		"too large":             send(0xff, 0xff, 0xff, 0xff, 'R'),
		"an unknown command":    func(c *Client) { c.Do("sing") },
		"a command not JSON":    send(2, 0, 0, 0, 'C', '{'),
		"a header not JSON":     func(c *Client) { c.Send(wire.Shell, &wire.Message{Header: []byte("{")}) },
	} {
		c := k.open(1 << 40)
		say(c)
		if r, err := c.Next(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %+v, %v", name, note(r), err)
		}
	}
	conn, err := net.Dial("tcp4", k.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\n\r\n")
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		t.Error("HTTP was answered")
	}
	if h := keeperHello(t, k.open(1)); !h.Alive || !h.Ready {
		t.Errorf("afterwards: %+v", h)
	}
}

// TestOpenRefuses holds a client against keepers that are none.
func TestOpenRefuses(t *testing.T) {
	frame := func(kind byte, text string) string {
		return string([]byte{byte(len(text) + 1), 0, 0, 0, kind}) + text
	}
	for name, answer := range map[string]string{
		"gone":              "",
		"another version":   frame(kindHello, `{"version":99}`),
		"not JSON":          frame(kindHello, `{`),
		"another kind":      frame(kindRecord, `{"version":1}`),
		"a very long hello": "\xff\xff\xff\xff" + "H",
	} {
		near, far := net.Pipe()
		go func() {
			r := newFrameReader(far, 4096)
			readHello(&r)
			far.Write([]byte(answer))
			far.Close()
		}()
		if c, err := Open(near, 1); err == nil {
			t.Errorf("%s: opened with %+v", name, c.Hello)
		}
		near.Close()
	}
}
