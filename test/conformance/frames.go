package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"cellar/kernel/wire"
)

// hostile says why the peer is not sent a frame.
const hostile = "the peer believes the count in a frame and takes all the memory it can get (18 GiB seen)"

// frameChecks send frames whose numbers lie. The server must cut off the client that
// sent one, or ignore it, and go on serving others, without taking memory.
var frameChecks = []*check{
	{name: "frames.json-2^31-parts", only: cellarSide, why: hostile, run: func(t *try) {
		t.hostile("json", binary.BigEndian.AppendUint32(nil, 1<<31), make([]byte, 64))
	}},
	{name: "frames.json-2^32-1-parts", only: cellarSide, why: hostile, run: func(t *try) {
		t.hostile("json", binary.BigEndian.AppendUint32(nil, 1<<32-1), make([]byte, 64))
	}},
	{name: "frames.v1-2^64-1-offset", only: cellarSide, why: hostile, run: func(t *try) {
		frame := binary.LittleEndian.AppendUint64(nil, 6)
		for range 6 {
			frame = binary.LittleEndian.AppendUint64(frame, 1<<64-1)
		}
		t.hostile("v1", frame)
	}},
	{name: "frames.v1-2^61-offsets", only: cellarSide, why: hostile, run: func(t *try) {
		t.hostile("v1", binary.LittleEndian.AppendUint64(nil, 1<<61), make([]byte, 64))
	}},
	{name: "frames.v1-offsets-backwards", run: func(t *try) {
		frame := binary.LittleEndian.AppendUint64(nil, 6)
		for i := range 6 {
			frame = binary.LittleEndian.AppendUint64(frame, uint64(100-i))
		}
		t.hostile("v1", frame, make([]byte, 64))
	}},
	{name: "frames.json-not-json", run: func(t *try) { t.hostileText("{") }},
	{name: "frames.json-not-an-object", run: func(t *try) { t.hostileText("[1,2]") }},
	{name: "frames.json-no-header", run: func(t *try) { t.hostileText(`{"channel":"shell"}`) }},
	{name: "frames.json-unknown-channel", run: func(t *try) {
		t.hostileText(`{"channel":"spoon","header":{"msg_id":"1","msg_type":"execute_request","session":"s","username":"","version":"5.3","date":""},"parent_header":{},"metadata":{},"content":{}}`)
	}},
	{name: "frames.empty", run: func(t *try) { t.hostile("v1", []byte{}) }},
}

func (t *try) hostile(framing string, parts ...[]byte) {
	c := t.open(t.sharedKernel(), framing)
	c.exec("1")
	before := t.memory()
	var frame []byte
	for _, p := range parts {
		frame = append(frame, p...)
	}
	c.raw(true, frame)
	t.stillServes(before)
}

func (t *try) hostileText(text string) {
	c := t.open(t.sharedKernel(), "json")
	c.exec("1")
	before := t.memory()
	c.raw(false, []byte(text))
	t.stillServes(before)
}

// stillServes wants another client of the same kernel to be served, and the hub to be
// about as large as it was.
func (t *try) stillServes(before int64) {
	deadline := time.Now().Add(10 * time.Second)
	c := t.open(t.sharedKernel(), "v1")
	asked := c.send(wire.Shell, "execute_request", code("print(5)"))
	for {
		m, err := c.read(time.Until(deadline))
		if err != nil {
			t.failf("another client is not served any more: %v", err)
		}
		if m.parent == asked && m.kind == "execute_reply" {
			break
		}
	}
	if after := t.memory(); after > before+200<<20 {
		t.failf("the server grew from %d to %d MB", before>>20, after>>20)
	}
}

// memory is what the site's server has resident, in bytes; 0 where it cannot be told.
func (t *try) memory() int64 {
	for _, p := range t.world.procs {
		if p.name != t.name {
			continue
		}
		return residentTree(p.cmd.Process.Pid)
	}
	return 0
}

// residentTree adds up a process and those below it, without their kernels.
func residentTree(pid int) (sum int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			sum = kb << 10
		}
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(children)) {
		n, _ := strconv.Atoi(child)
		if line, _ := os.ReadFile("/proc/" + child + "/cmdline"); !strings.Contains(string(line), "ipykernel_launcher") {
			sum += residentTree(n)
		}
	}
	return sum
}
