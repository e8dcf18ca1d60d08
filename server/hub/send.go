package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/kernel/wire"
)

// SendFrom is Send for a connected client. The client's session is the one its
// messages name: answers find their way by it.
func (l *Live) SendFrom(c *Client, ch wire.Channel, m *wire.Message) error {
	l.mu.Lock()
	l.sender = c.By
	l.mu.Unlock()
	if h, err := wire.ParseHeader(m.Header); err == nil && h.Session != "" && h.Session != hubSession {
		l.mu.Lock()
		if c.Session == "" || c.Session != h.Session {
			c.Session = h.Session
		}
		l.mu.Unlock()
	}
	return l.Send(ch, m)
}

// Send takes a message of a client for the kernel. While the kernel is frozen,
// moved or started it waits in order; a hibernated kernel is woken by it.
func (l *Live) Send(ch wire.Channel, m *wire.Message) error {
	h, err := wire.ParseHeader(m.Header)
	if err != nil {
		return err
	}
	l.mu.Lock()
	state := l.rec.State
	if state == kernel.Hibernated && l.answerAsleep(h, m) {
		l.mu.Unlock()
		return nil
	}
	if state == kernel.Dead {
		l.mu.Unlock()
		return nil // as with any dead kernel: the client has been told
	}
	l.recall.asks(h, m)
	o := &outgoing{ch: ch, m: m}
	if ch == wire.Shell && h.MsgType == "execute_request" {
		o.msgID = h.MsgID
	}
	if l.outBytes += m.Size(); l.outBytes > outLimit {
		l.outBytes -= m.Size()
		l.mu.Unlock()
		return fault.New(fault.Exhausted, "too_much_waiting", "Too much is waiting for this kernel already.")
	}
	l.out = append(l.out, o)
	wake := state == kernel.Hibernated && !l.waking
	l.waking = l.waking || wake
	l.rec.ActiveAt = time.Now()
	l.mu.Unlock()
	l.signal()
	if wake {
		l.h.Log.Info("waking", "kernel", l.ID(), "for", h.MsgType)
		l.h.wake(l)
	}
	return nil
}

func (l *Live) signal() {
	select {
	case l.outWake <- struct{}{}:
	default:
	}
}

// answerAsleep answers for a hibernated kernel what a client asks only by
// opening its page; the lock is held.
func (l *Live) answerAsleep(h wire.Header, m *wire.Message) bool {
	var said []*wire.Message
	ch := wire.Shell
	switch h.MsgType {
	case "kernel_info_request":
		if l.info == nil {
			return false
		}
		said = []*wire.Message{message("kernel_info_reply", m.Header, l.info)}
	case "comm_info_request":
		content, ok := l.commInfo(m)
		if !ok {
			return false
		}
		said = []*wire.Message{message("comm_info_reply", m.Header, content)}
	case "comm_open", "comm_msg", "comm_close":
		var ok bool
		if said, ok = l.answerComms(h, m); !ok {
			return false
		}
	case "history_request":
		content := l.recall.answer(m.Content)
		if content == nil {
			return false
		}
		said = []*wire.Message{message("history_reply", m.Header, content)}
	case "debug_request":
		content := l.recall.debugging(m.Content)
		if content == nil {
			return false
		}
		said, ch = []*wire.Message{message("debug_reply", m.Header, content)}, wire.Control
	default:
		return false
	}
	l.say(wire.IOPub, status(m.Header, "busy"), "")
	if strings.HasPrefix(h.MsgType, "comm_") && h.MsgType != "comm_info_request" {
		ch = wire.IOPub
	}
	for _, a := range said {
		l.say(ch, a, h.Session)
	}
	l.say(wire.IOPub, status(m.Header, "idle"), "")
	return true
}

// message makes a message of the hub's own, in the name of the kernel.
func message(kind string, parent, content []byte) *wire.Message {
	return messageOf(hubSession, kind, parent, content)
}

func messageOf(session, kind string, parent, content []byte) *wire.Message {
	if session == "" {
		session = hubSession
	}
	header, _ := json.Marshal(wire.Header{
		MsgID: newID(), MsgType: kind, Session: session, Username: "cellar", Date: wire.Date(time.Now().UTC().Format(time.RFC3339Nano)), Version: "5.3",
	})
	return &wire.Message{Header: header, Parent: parent, Content: content}
}

func status(parent []byte, state string) *wire.Message {
	return message("status", parent, statusContent(state))
}

func statusContent(state string) []byte { return fmt.Appendf(nil, `{"execution_state":%q}`, state) }
