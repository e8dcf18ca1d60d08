package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
)

// maxOutput bounds what one run keeps of its outputs, in bytes: a notebook could
// hardly be opened with more, and a cell that prints without end must not take the
// hub's memory. Over it the first half is kept and the newest of the rest. It is a
// variable for tests.
var maxOutput = 128 << 20

// outputCost is what an output takes besides its bytes.
const outputCost = 200

// Output is one output of a cell in nbformat's form.
type Output struct {
	stream  string // name of the stream, for output_type stream
	text    []byte // its text so far
	display string // display_id
	body    map[string]any
	size    int  // bytes it counts for
	note    bool // it stands for what was left out
}

// MarshalJSON implements json.Marshaler.
func (o *Output) MarshalJSON() ([]byte, error) {
	if o.stream != "" {
		return json.Marshal(map[string]any{"output_type": "stream", "name": o.stream, "text": string(o.text)})
	}
	return json.Marshal(o.body)
}

// inFile is the output as a notebook's file has it.
func (o *Output) inFile() any {
	if o.stream != "" || o.body["transient"] == nil {
		return o
	}
	body := maps.Clone(o.body)
	delete(body, "transient")
	return body
}

// sizes is how much a run's outputs are.
type sizes struct {
	all  int // bytes that are kept
	head int // how many outputs are the first half; 0: nothing was left out yet
	cut  int // bytes left out; what stands for them is behind the head
}

// add appends an output of that many bytes.
func (r *Run) add(o *Output, n int) {
	r.Outputs = append(r.Outputs, o)
	r.grew(n + outputCost)
}

// grew notes that the last output has n bytes more.
func (r *Run) grew(n int) {
	r.Outputs[len(r.Outputs)-1].size += n
	r.sizes.all += n
	if r.sizes.all > maxOutput {
		r.shorten()
	}
}

func (r *Run) empty() { r.Outputs, r.clear, r.sizes = nil, false, sizes{} }

// recount is for when outputs have changed in the middle.
func (r *Run) recount() {
	r.sizes.all = 0
	for _, o := range r.Outputs {
		if data, ok := o.body["data"].(json.RawMessage); ok {
			o.size = len(data) + outputCost
		}
		r.sizes.all += o.size
	}
	if r.sizes.all > maxOutput {
		r.shorten()
	}
}

// shorten leaves out what is in the middle, so that there is room again for a
// quarter of what may be kept.
func (r *Run) shorten() {
	if r.sizes.cut == 0 {
		r.divide()
	}
	rest := r.Outputs[r.sizes.head+1:]
	for over := r.sizes.all - maxOutput*3/4; over > 0 && len(rest) > 0; {
		n := rest[0].size
		if n-outputCost > over && rest[0].stream != "" {
			n = rest[0].behead(over)
			over = 0
		} else {
			rest = rest[1:]
			over -= n
		}
		r.sizes.all -= n
		r.sizes.cut += n
	}
	note := &Output{stream: "stderr", note: true, text: fmt.Appendf(nil, "\n[%.1f MB of output are left out here: a cell keeps %d MiB of it]\n", float64(r.sizes.cut)/1e6, maxOutput>>20)}
	r.Outputs = append(append(r.Outputs[:r.sizes.head:r.sizes.head], note), rest...)
}

// divide finds the first half of the outputs, and makes room behind it for what
// stands for those that will be left out.
func (r *Run) divide() {
	size := 0
	for i, o := range r.Outputs {
		if size+o.size <= maxOutput/2 {
			size += o.size
			r.sizes.head = i + 1
			continue
		}
		if o.stream != "" { // part of it belongs to the first half
			tail := *o
			n := min(max(0, maxOutput/2-size), len(o.text))
			n = bytes.LastIndexByte(o.text[:n], '\n') + 1
			first := &Output{stream: o.stream, text: bytes.Clone(o.text[:n]), size: n + outputCost}
			tail.text = o.text[n:]
			tail.size = o.size - n
			r.sizes.all += outputCost
			r.Outputs = append(append(r.Outputs[:i:i], first, &tail), r.Outputs[i+1:]...)
			r.sizes.head = i + 1
		}
		break
	}
	r.Outputs = append(append(r.Outputs[:r.sizes.head:r.sizes.head], &Output{}), r.Outputs[r.sizes.head:]...)
}

// behead takes n bytes or a little more from the start of a stream's text, up to
// the end of a line if there is one, and tells how many.
func (o *Output) behead(n int) int {
	n = min(n, len(o.text))
	if i := bytes.IndexByte(o.text[n:], '\n'); i >= 0 && i < 1<<20 {
		n += i + 1
	}
	o.text = bytes.Clone(o.text[n:]) // not a part of it: the rest would stay in memory
	o.size -= n
	return n
}
