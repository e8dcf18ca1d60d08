package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"cellar/internal/fault"
)

// ToTensors makes tensors of a call's outputs, those that are wanted, or all.
func ToTensors(outputs []Field, answer json.RawMessage, wanted []string) ([]Tensor, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(answer, &values); err != nil {
		return nil, fmt.Errorf("worker's outputs: %w", err)
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(outputs, func(f Field) bool { return f.Name == name }) {
			return nil, invalid(name, "there is no such output; the outputs are: "+names(outputs))
		}
	}
	out := []Tensor{}
	for _, f := range outputs {
		if len(wanted) > 0 && !slices.Contains(wanted, f.Name) {
			continue
		}
		t, err := toTensor(f.Name, values[f.Name])
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func toTensor(name string, v json.RawMessage) (Tensor, error) {
	t := Tensor{Name: name, Shape: []int64{1}}
	switch typeOf(v) {
	case "object", "null": // a text that says so
		text, err := json.Marshal(string(v))
		t.Datatype, t.Data = "BYTES", slices.Concat([]byte("["), text, []byte("]"))
		return t, err
	case "array":
		return (&tensorWriter{t: t}).take(v)
	}
	return (&tensorWriter{t: t}).take(slices.Concat([]byte("["), v, []byte("]")))
}

// tensorWriter flattens nested arrays of equal lengths and one type.
type tensorWriter struct {
	t    Tensor
	data bytes.Buffer
	d    *json.Decoder
	leaf int // the depth at which elements are; 0: not known yet
	kind string
}

func (w *tensorWriter) take(v json.RawMessage) (Tensor, error) {
	w.t.Shape = nil
	w.d = json.NewDecoder(bytes.NewReader(v))
	w.d.UseNumber()
	if _, err := w.d.Token(); err != nil {
		return w.t, err
	}
	if err := w.list(0); err != nil {
		return w.t, err
	}
	w.t.Datatype = map[string]string{"": "FP64", "integer": "INT64", "number": "FP64", "boolean": "BOOL", "string": "BYTES"}[w.kind]
	w.t.Data = slices.Concat([]byte("["), w.data.Bytes(), []byte("]"))
	return w.t, nil
}

func (w *tensorWriter) uneven() error {
	return fault.Newf(fault.Unsupported, "output_no_tensor", "The output %.100s is not a tensor: its rows differ in length, or its elements in type. Call the node at /nodes/.../execute for it.", w.t.Name)
}

// list takes an array after its bracket; depth is that of the dimension.
func (w *tensorWriter) list(depth int) error {
	if depth >= maxRank {
		return w.uneven()
	}
	n := int64(0)
	for w.d.More() {
		token, err := w.d.Token()
		if err != nil {
			return err
		}
		n++
		if token == json.Delim('[') {
			if w.leaf != 0 && w.leaf <= depth+1 {
				return w.uneven()
			}
			if err := w.list(depth + 1); err != nil {
				return err
			}
			continue
		}
		if w.leaf == 0 {
			w.leaf = depth + 1
		}
		if err := w.element(token, depth); err != nil {
			return err
		}
	}
	if _, err := w.d.Token(); err != nil {
		return err
	}
	for len(w.t.Shape) <= depth {
		w.t.Shape = append(w.t.Shape, -1)
	}
	if w.t.Shape[depth] == -1 {
		w.t.Shape[depth] = n
	}
	if w.t.Shape[depth] != n {
		return w.uneven()
	}
	return nil
}

func (w *tensorWriter) element(token json.Token, depth int) error {
	kind := ""
	var text []byte
	switch v := token.(type) {
	case bool:
		kind, text = "boolean", strconv.AppendBool(nil, v)
	case string:
		kind = "string"
		text, _ = json.Marshal(v)
	case json.Number:
		text = []byte(v)
		kind = typeOf(text)
		if _, err := strconv.ParseInt(v.String(), 10, 64); kind == "integer" && err != nil {
			kind = "number"
		}
	}
	if w.leaf != depth+1 || kind == "" {
		return w.uneven()
	}
	switch {
	case w.kind == "" || w.kind == kind:
		w.kind = kind
	case fits(w.kind, kind) || fits(kind, w.kind):
		w.kind = "number"
	default:
		return w.uneven()
	}
	if w.data.Len() > 0 {
		w.data.WriteByte(',')
	}
	w.data.Write(text)
	return nil
}

// Metadata tells what tensors a field takes or gives: from its example, where a
// dimension of an array may have any length.
func Metadata(fields []Field) []Tensor {
	scalar := map[string]string{"string": "BYTES", "object": "BYTES", "number": "FP64", "integer": "INT64", "boolean": "BOOL"}
	out := []Tensor{}
	for _, f := range fields {
		t := Tensor{Name: f.Name, Shape: []int64{1}, Datatype: scalar[f.Type]}
		if f.Type == "array" {
			t.Shape, t.Datatype = []int64{-1}, "FP64"
			if seen, err := toTensor(f.Name, f.Example); err == nil && typeOf(f.Example) == "array" {
				t.Datatype, t.Shape = seen.Datatype, slices.Repeat([]int64{-1}, len(seen.Shape))
			}
		}
		out = append(out, t)
	}
	return out
}
