package hub

import (
	"testing"
	"time"

	"cellar/kernel/keep"
	"cellar/kernel/wire"
)

// A page that shows a notebook asks the kernel's debugger, beside the cell that runs.
func TestTheKernelIsBusyWhateverElseItIsAsked(t *testing.T) {
	l := &Live{}
	began := time.Unix(1_700_000_000, 0)
	say := func(state, parent string, after time.Duration) {
		l.noteStatus(keep.Record{Channel: wire.IOPub, Time: began.Add(after), Message: &wire.Message{Content: statusContent(state)}}, wire.Header{MsgType: parent})
	}
	say("busy", "execute_request", 0)
	for _, parent := range []string{"debug_request", "interrupt_request", "kernel_info_request", "comm_info_request", "history_request"} {
		say("busy", parent, time.Minute)
		say("idle", parent, time.Minute)
		if l.busy != "busy" || !l.rec.ActiveAt.Equal(began) {
			t.Fatalf("after a %s the kernel is %s, active at %v", parent, l.busy, l.rec.ActiveAt)
		}
	}
	say("idle", "execute_request", time.Second)
	if l.busy != "idle" || !l.rec.ActiveAt.Equal(began.Add(time.Second)) {
		t.Errorf("after the cell the kernel is %s, active at %v", l.busy, l.rec.ActiveAt)
	}
}
