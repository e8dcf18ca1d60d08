package keep

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"cellar/kernel/orphans"
	"cellar/kernel/wire"
)

// Options say what a keeper keeps.
type Options struct {
	Argv    []string // the kernel; {connection_file} is replaced
	Dir     string   // working directory of the kernel
	Runtime string   // folder for the connection file and the kernel's sockets
	Journal string   // folder of the journal
	Quota   int64    // bytes of journal kept
	Listen  string   // address for the hub
	Log     *slog.Logger
}

// Keeper runs one kernel, starting it again when told to.
type Keeper struct {
	o       Options
	journal *Journal
	orphans orphans.Reaper
	asks    asks

	mu     sync.Mutex
	kernel *process
	alive  bool
	ready  bool
	heard  bool            // something of ours came on iopub
	info   json.RawMessage // kernel_info_reply's content
	conns  map[net.Conn]struct{}
}

// Run keeps a kernel until ctx ends.
func Run(ctx context.Context, o Options) error {
	journal, err := OpenJournal(o.Journal, o.Quota)
	if err != nil {
		return err
	}
	defer journal.Close()
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false) // CRIU cannot dump an MPTCP listener
	ln, err := lc.Listen(ctx, "tcp4", o.Listen)
	if err != nil {
		return err
	}
	k := &Keeper{o: o, journal: journal, conns: map[net.Conn]struct{}{}}
	if err := k.start(); err != nil {
		k.event(Event{Event: EventExited, Code: 127, Detail: err.Error()})
	}
	var wg sync.WaitGroup
	if os.Getpid() == 1 {
		wg.Go(func() { k.orphans.Run(ctx) })
	}
	stop := context.AfterFunc(ctx, func() {
		ln.Close()
		k.detach()
	})
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			break
		}
		wg.Go(func() { k.serve(ctx, conn) })
	}
	k.kill()
	wg.Wait()
	k.kill() // what a restart under way has started
	return nil
}

func (k *Keeper) event(e Event) {
	b, err := json.Marshal(e)
	if err != nil {
		return
	}
	if _, err = k.journal.Append(wire.Event, &wire.Message{Content: b}); err == nil {
		err = k.journal.Flush()
	}
	if err != nil {
		k.o.Log.Error("event not kept", "event", e.Event, "error", err)
	}
}

// serve talks to one hub. Several may be connected; none is trusted with more
// than the kernel itself.
func (k *Keeper) serve(ctx context.Context, conn net.Conn) {
	k.mu.Lock()
	k.conns[conn] = struct{}{}
	k.mu.Unlock()
	defer func() {
		conn.Close()
		k.mu.Lock()
		delete(k.conns, conn)
		k.mu.Unlock()
	}()
	r := newFrameReader(conn, 64<<10)
	w := frameWriter{w: bufio.NewWriterSize(conn, 256<<10)}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	hello, err := readHello(&r)
	if err != nil {
		return
	}
	conn.SetReadDeadline(time.Time{})
	if err := w.writeJSON(kindHello, k.hello()); err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer conn.Close()
		k.journal.Follow(ctx, hello.From, func(rec []byte, more bool) error {
			return w.write(kindRecord, !more, rec)
		})
	})
	answers := make(chan Answer, maxAnswers)
	wg.Go(func() { writeAnswers(ctx, &w, answers) })
	for {
		kind, payload, err := r.next(MaxRecord)
		if err == nil {
			err = k.handle(kind, payload, answers)
		}
		if err != nil {
			cancel()
			conn.Close()
			return
		}
	}
}

// writeAnswers passes on what the kernel answered. What it cannot write is lost
// with the connection.
func writeAnswers(ctx context.Context, w *frameWriter, answers <-chan Answer) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-answers:
			w.writeJSON(kindAnswer, a)
		}
	}
}

func readHello(r *frameReader) (Hello, error) {
	var h Hello
	kind, payload, err := r.next(1 << 16)
	if err != nil {
		return h, err
	}
	if kind != kindHello {
		return h, wire.ErrMalformed
	}
	err = json.Unmarshal(payload, &h)
	return h, err
}

func (k *Keeper) hello() Hello {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := Hello{Version: Version, Alive: k.alive, Ready: k.ready, Hooks: true, Answers: true}
	h.First, h.Next = k.journal.Bounds()
	if k.kernel != nil {
		h.PID, h.Want, h.Raw = k.kernel.pid(), k.kernel.hooks.wants.get(), k.kernel.hooks.isRaw()
	}
	return h
}

var errDetach = errors.New("detached")

func (k *Keeper) handle(kind byte, payload []byte, answers chan<- Answer) error {
	switch kind {
	case kindSend:
		if len(payload) < 1 {
			return wire.ErrMalformed
		}
		m, err := parseMessage(payload[1:])
		if err != nil {
			return err
		}
		return k.send(wire.Channel(payload[0]), m)
	case kindAck:
		if len(payload) != 8 {
			return wire.ErrMalformed
		}
		k.journal.Ack(binary.LittleEndian.Uint64(payload))
		return nil
	case kindCommand:
		var c Command
		if err := json.Unmarshal(payload, &c); err != nil {
			return err
		}
		return k.command(c, answers)
	}
	return fmt.Errorf("%w: kind %q", wire.ErrMalformed, kind)
}

func (k *Keeper) command(c Command, answers chan<- Answer) error {
	switch c.Op {
	case OpInterrupt:
		k.mu.Lock()
		p := k.kernel
		k.mu.Unlock()
		if p != nil {
			p.interrupt()
		}
	case OpRestart:
		k.kill()
		if err := k.start(); err != nil {
			k.event(Event{Event: EventExited, Code: 127, Detail: err.Error()})
		}
	case OpDetach:
		k.detach()
		return errDetach
	case OpHook:
		if c.Hook == nil {
			return wire.ErrMalformed
		}
		k.mu.Lock()
		p := k.kernel
		k.mu.Unlock()
		if p == nil || !p.hooks.tell(*c.Hook) {
			done := Hooked{ID: c.Hook.ID}
			if c.Hook.Event == HookAfter && c.Hook.Reason == ReasonTemplate {
				done.Errors = []string{"nobody listens in it"}
			}
			k.event(Event{Event: EventHooked, Hooked: &done})
		}
	case OpAsk:
		if c.Question == nil {
			return wire.ErrMalformed
		}
		k.ask(*c.Question, answers)
	case OpGrant:
		if c.Grant == nil {
			return wire.ErrMalformed
		}
		k.grant(*c.Grant)
	default:
		return fmt.Errorf("%w: command %q", wire.ErrMalformed, c.Op)
	}
	return nil
}

func (k *Keeper) detach() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.conns {
		c.Close()
	}
}

// send writes the request down first: whoever reads the journal later can tell
// which cell the outputs that follow belong to.
func (k *Keeper) send(ch wire.Channel, m *wire.Message) error {
	h, err := wire.ParseHeader(m.Header)
	if err != nil {
		return err
	}
	if ch == wire.Shell && h.MsgType == "execute_request" {
		if _, err := k.journal.Append(wire.Request, m); err != nil {
			return err
		}
		if err := k.journal.Flush(); err != nil {
			k.o.Log.Error("request not written yet", "error", err)
		}
	}
	k.mu.Lock()
	p := k.kernel
	k.mu.Unlock()
	if p == nil {
		return nil // its end is in the journal already
	}
	if err := p.send(ch, m); err != nil {
		k.o.Log.Error("kernel does not take a message", "channel", ch.String(), "error", err)
	}
	return nil
}
