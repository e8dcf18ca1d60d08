package hub

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// unanswered is an execute_request that the kernel has been given and has not
// replied to. When the kernel ends, its client is told so: a client that waits
// for a reply would wait for ever.
type unanswered struct {
	id, session string
	header      []byte
	late        bool   // it came when the kernel had ended already
	idle        bool   // the kernel is through with it: only its reply was lost
	lease       string // the configuration that its first line asks for
}

// maxUnanswered bounds how many are remembered; those beyond get no reply.
const maxUnanswered = 10_000

// maxVoice bounds the session of a kernel's messages, which is its own to choose.
const maxVoice = 128

// noteAsked keeps track of who waits for an answer, by one record of the journal;
// the lock is held. It reports whether somebody goes on in the life after one
// that ended by itself: that is no news then.
func (l *Live) noteAsked(r keep.Record, h, parent wire.Header) (heard bool) {
	switch {
	case r.Channel == wire.Request && h.Session != hubSession:
		if len(l.unanswered) < maxUnanswered {
			l.unanswered = append(l.unanswered, unanswered{h.MsgID, h.Session, bytes.Clone(r.Message.Header), l.exit != nil, false, leaseOf(r.Message.Content)})
		}
		return l.died != nil
	case r.Channel == wire.Shell && h.MsgType == "execute_reply":
		l.unanswered = slices.DeleteFunc(l.unanswered, func(u unanswered) bool { return u.id == parent.MsgID })
	case r.Channel == wire.IOPub && len(h.Session) <= maxVoice:
		l.voice = h.Session
		if h.MsgType == "status" && bytes.Contains(r.Message.Content, []byte(`"idle"`)) {
			for i := range l.unanswered {
				l.unanswered[i].idle = l.unanswered[i].idle || l.unanswered[i].id == parent.MsgID
			}
		}
	}
	return false
}

// says makes a message in the name of the kernel. It has the session of the
// kernel's own: JupyterLab drops what it has not handled yet when that changes.
// The lock is held.
func (l *Live) says(kind string, parent, content []byte) *wire.Message {
	return messageOf(l.voice, kind, parent, content)
}

// deadKernel is the name of the error that a cell ends with when its kernel does.
const deadKernel = "DeadKernelError"

// answerOpen ends what the kernel had been asked, as the kernel has ended: the
// cell that ran says why in its output, those behind it are aborted. What waits
// in the hub for a kernel that has not answered yet goes on waiting if sent is
// false. The lock is held; it returns the runs that ended.
func (l *Live) answerOpen(why string, sent bool) []*Run {
	// The oldest is the one that ran, even if the kernel had no time to say so.
	first := slices.IndexFunc(l.unanswered, func(u unanswered) bool { return !u.idle })
	for i, u := range l.unanswered {
		l.answer(u, l.book.byMsg[u.id], i == first && !u.late, why)
	}
	l.unanswered = nil
	for _, o := range slices.Clone(l.out) {
		h, err := wire.ParseHeader(o.m.Header)
		if o.msgID == "" || !sent || err != nil {
			continue
		}
		l.drop(o)
		l.answer(unanswered{o.msgID, h.Session, o.m.Header, true, false, ""}, nil, false, why)
	}
	cut := l.book.abortOpen(time.Now())
	for _, run := range cut {
		run.delivered = l.hasClient(run.Session)
	}
	return cut
}

// answer tells who asked that no answer comes from the kernel; the lock is held.
func (l *Live) answer(u unanswered, run *Run, ran bool, why string) {
	reply := map[string]any{"status": "aborted"}
	if ran {
		failure := map[string]any{"ename": deadKernel, "evalue": why, "traceback": []string{deadKernel + ": " + why}}
		reply = map[string]any{"status": "error", "user_expressions": map[string]any{}, "payload": []any{}}
		for k, v := range failure {
			reply[k] = v
		}
		content, _ := json.Marshal(failure)
		m := l.says("error", u.header, content)
		l.say(wire.IOPub, m, "")
		if run != nil {
			reply["execution_count"] = run.Count
			l.book.cutShort(run, failure, m)
		}
	}
	content, _ := json.Marshal(reply)
	l.say(wire.Shell, l.says("execute_reply", u.header, content), u.session)
	l.say(wire.IOPub, l.says("status", u.header, statusContent("idle")), "")
}

// cutShort puts into a run's outputs that its kernel has ended. If the kernel did
// not say that it began, it did when it came and nothing was before it.
func (b *book) cutShort(run *Run, failure map[string]any, said *wire.Message) {
	if run.StartedAt.IsZero() {
		run.StartedAt = run.QueuedAt
		for _, r := range b.order {
			if r.EndedAt.After(run.StartedAt) {
				run.StartedAt = r.EndedAt
			}
		}
	}
	b.clearIfAsked(run)
	body := map[string]any{"output_type": "error"}
	for k, v := range failure {
		body[k] = v
	}
	run.add(&Output{body: body}, len(said.Content))
	run.version++
	if h, err := wire.ParseHeader(said.Header); err == nil {
		run.LastMsgID = h.MsgID
	}
}
