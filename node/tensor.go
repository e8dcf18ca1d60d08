package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// Tensor is one input or output of the Open Inference Protocol, version 2.
type Tensor struct {
	Name       string          `json:"name"`
	Shape      []int64         `json:"shape"`
	Datatype   string          `json:"datatype"`
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
}

// maxRank is how many dimensions a tensor may have.
const maxRank = 16

// integers are the ranges of the integer datatypes.
var integers = map[string]struct {
	least int64
	most  uint64
}{
	"INT8": {math.MinInt8, math.MaxInt8}, "INT16": {math.MinInt16, math.MaxInt16}, "INT32": {math.MinInt32, math.MaxInt32}, "INT64": {math.MinInt64, math.MaxInt64},
	"UINT8": {0, math.MaxUint8}, "UINT16": {0, math.MaxUint16}, "UINT32": {0, math.MaxUint32}, "UINT64": {0, math.MaxUint64},
}

var floats = map[string]float64{"FP16": 65504, "FP32": math.MaxFloat32, "FP64": math.MaxFloat64}

func tensorError(name, what string, args ...any) error {
	return fault.Newf(fault.Invalid, "tensor_invalid", "%.100s: %s.", name, fmt.Sprintf(what, args...))
}

// FromTensors makes the JSON object of a call.
func FromTensors(inputs []Field, tensors []Tensor) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, t := range tensors {
		f := slices.IndexFunc(inputs, func(f Field) bool { return f.Name == t.Name })
		if f < 0 {
			return nil, invalid(t.Name, "there is no such input; the inputs are: "+names(inputs))
		}
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		if err := t.field(&b, inputs[f].Type); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// field writes the tensor as a field of a type: an array in its shape, anything
// else as the one element that it must have.
func (t Tensor) field(b *bytes.Buffer, kind string) error {
	count, err := t.count()
	if err != nil {
		return err
	}
	r := &tensorReader{t: t, d: json.NewDecoder(bytes.NewReader(t.Data)), out: b}
	r.d.UseNumber()
	if err := r.open(); err != nil {
		return err
	}
	switch {
	case kind == "array":
		err = r.write(0)
	case count != 1:
		return tensorError(t.Name, "it is %s, so it takes one element, not %d", article(kind), count)
	case kind == "object":
		err = r.object()
	default:
		r.scalar = true
		err = r.write(0)
	}
	if err != nil {
		return err
	}
	return r.end()
}

// count is the number of elements that the shape says.
func (t Tensor) count() (int64, error) {
	if len(t.Shape) > maxRank {
		return 0, tensorError(t.Name, "it has more than %d dimensions", maxRank)
	}
	count := int64(1)
	for _, n := range t.Shape {
		if n < 0 || (n == 0 && len(t.Shape) > 1) {
			return 0, tensorError(t.Name, "its shape %v has a dimension that is not a positive number", t.Shape)
		}
		if count *= n; count > MaxBody {
			return 0, tensorError(t.Name, "its shape %v is too large", t.Shape)
		}
	}
	return count, nil
}

// tensorReader takes a tensor's data, flat or nested as the shape says, and writes
// it in the shape, element by element: it holds none.
type tensorReader struct {
	t      Tensor
	d      *json.Decoder
	out    *bytes.Buffer
	nested bool
	scalar bool // the only element, without brackets
	read   int64
}

func (r *tensorReader) open() error {
	data := bytes.TrimSpace(r.t.Data)
	if len(data) == 0 || data[0] != '[' {
		return tensorError(r.t.Name, "its data is not an array")
	}
	inner := bytes.TrimSpace(data[1:])
	r.nested = len(r.t.Shape) > 1 && len(inner) > 0 && inner[0] == '['
	if r.nested {
		return nil
	}
	_, err := r.d.Token()
	return err
}

func (r *tensorReader) write(level int) error {
	if level == len(r.t.Shape) {
		return r.element()
	}
	if r.nested {
		if err := r.delim('[', level); err != nil {
			return err
		}
	}
	if !r.scalar {
		r.out.WriteByte('[')
	}
	for i := range r.t.Shape[level] {
		if i > 0 {
			r.out.WriteByte(',')
		}
		if err := r.write(level + 1); err != nil {
			return err
		}
	}
	if !r.scalar {
		r.out.WriteByte(']')
	}
	if r.nested {
		return r.delim(']', level)
	}
	return nil
}

func (r *tensorReader) delim(want json.Delim, level int) error {
	if token, err := r.d.Token(); err != nil || token != want {
		return tensorError(r.t.Name, "its data does not have the shape %v: dimension %d does not fit", r.t.Shape, level)
	}
	return nil
}

func (r *tensorReader) element() error {
	token, err := r.d.Token()
	if err != nil || token == json.Delim(']') {
		return tensorError(r.t.Name, "it has %d elements, fewer than its shape %v says", r.read, r.t.Shape)
	}
	r.read++
	text, ok := elementText(r.t.Datatype, token)
	if !ok {
		return tensorError(r.t.Name, "%.40q is not a %.20s", fmt.Sprint(token), r.t.Datatype)
	}
	r.out.Write(text)
	return nil
}

// object takes a BYTES element with the text of a JSON object.
func (r *tensorReader) object() error {
	if r.t.Datatype != "BYTES" {
		return errObjectTensor(r.t.Name)
	}
	var element bytes.Buffer
	whole := r.out
	r.out, r.scalar = &element, true
	err := r.write(0)
	r.out = whole
	if err != nil {
		return err
	}
	var text string
	if json.Unmarshal(element.Bytes(), &text) != nil || !json.Valid([]byte(text)) {
		return errObjectTensor(r.t.Name)
	}
	r.out.WriteString(text)
	return nil
}

func errObjectTensor(name string) error {
	return tensorError(name, "it is an object, so it takes one element of BYTES with the text of a JSON object")
}

// end finds what is too much.
func (r *tensorReader) end() error {
	if r.nested {
		if _, err := r.d.Token(); err == nil {
			return tensorError(r.t.Name, "its data does not have the shape %v", r.t.Shape)
		}
		return nil
	}
	if token, err := r.d.Token(); err != nil || token != json.Delim(']') {
		return tensorError(r.t.Name, "it has more elements than its shape %v says, or they are nested otherwise", r.t.Shape)
	}
	return nil
}

// elementText is the JSON of an element, if it is of the datatype.
func elementText(datatype string, token json.Token) ([]byte, bool) {
	switch v := token.(type) {
	case bool:
		return strconv.AppendBool(nil, v), datatype == "BOOL"
	case string:
		text, err := json.Marshal(v)
		return text, err == nil && datatype == "BYTES"
	case json.Number:
		if limits, ok := integers[datatype]; ok {
			return integerText(v.String(), limits.least, limits.most)
		}
		most, ok := floats[datatype]
		f, err := v.Float64()
		text := []byte(v)
		if !bytes.ContainsAny(text, ".eE") { // a float stays one in the cell's language
			text = append(text, ".0"...)
		}
		return text, ok && err == nil && math.Abs(f) <= most
	}
	return nil, false
}

func integerText(text string, least int64, most uint64) ([]byte, bool) {
	if whole, cut := strings.CutSuffix(text, ".0"); cut { // as some clients write them
		text = whole
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return []byte(text), n >= least && (n < 0 || uint64(n) <= most)
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return []byte(text), err == nil && n <= most
}
