package node

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"cellar/internal/fault"
)

var tensorFields = []Field{{Name: "a", Type: "array"}, {Name: "s", Type: "string"}, {Name: "n", Type: "number"}, {Name: "i", Type: "integer"}, {Name: "b", Type: "boolean"}, {Name: "o", Type: "object"}}

func TestFromTensors(t *testing.T) {
	for _, c := range []struct{ tensor, want string }{
		{`{"name":"a","shape":[2,3],"datatype":"FP32","data":[1,2.5,3,4,5,6]}`, `{"a":[[1.0,2.5,3.0],[4.0,5.0,6.0]]}`},
		{`{"name":"a","shape":[2,3],"datatype":"INT64","data":[[1,2,3],[4,5,6]]}`, `{"a":[[1,2,3],[4,5,6]]}`},
		{`{"name":"a","shape":[3],"datatype":"BYTES","data":["x","ä\"",""]}`, `{"a":["x","ä\"",""]}`},
		{`{"name":"a","shape":[2],"datatype":"BOOL","data":[true,false]}`, `{"a":[true,false]}`},
		{`{"name":"a","shape":[0],"datatype":"FP64","data":[]}`, `{"a":[]}`},
		{`{"name":"a","shape":[1,1,2],"datatype":"UINT64","data":[[[18446744073709551615,0]]]}`, `{"a":[[[18446744073709551615,0]]]}`},
		{`{"name":"s","shape":[1],"datatype":"BYTES","data":["text"]}`, `{"s":"text"}`},
		{`{"name":"n","shape":[1,1],"datatype":"FP64","data":[[1e3]]}`, `{"n":1e3}`},
		{`{"name":"n","shape":[],"datatype":"INT8","data":[-128]}`, `{"n":-128}`},
		{`{"name":"n","shape":[1],"datatype":"FP64","data":[1]}`, `{"n":1.0}`},
		{`{"name":"i","shape":[1],"datatype":"INT32","data":[7.0]}`, `{"i":7}`},
		{`{"name":"b","shape":[1],"datatype":"BOOL","data":[true]}`, `{"b":true}`},
		{`{"name":"o","shape":[1],"datatype":"BYTES","data":["{\"k\":[1]}"]}`, `{"o":{"k":[1]}}`},
		{`{"name":"o","shape":[1,1],"datatype":"BYTES","data":[["{}"]]}`, `{"o":{}}`},

		{`{"name":"a","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5]}`, "5 elements, fewer than"},
		{`{"name":"a","shape":[2,3],"datatype":"FP32","data":[1,2,3,4,5,6,7]}`, "more elements"},
		{`{"name":"a","shape":[2,3],"datatype":"FP32","data":[[1,2],[3,4],[5,6]]}`, "fewer than"},
		{`{"name":"a","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4],[5,6]]}`, "does not fit"},
		{`{"name":"a","shape":[2,2],"datatype":"FP32","data":[[[1],[2]],[3,4]]}`, "is not a FP32"},
		{`{"name":"a","shape":[3],"datatype":"INT8","data":[1,2,128]}`, `"128" is not a INT8`},
		{`{"name":"a","shape":[1],"datatype":"INT32","data":[1.5]}`, "is not a INT32"},
		{`{"name":"a","shape":[1],"datatype":"UINT8","data":[-1]}`, "is not a UINT8"},
		{`{"name":"a","shape":[1],"datatype":"FP32","data":[1e39]}`, "is not a FP32"},
		{`{"name":"a","shape":[1],"datatype":"FP64","data":["1"]}`, "is not a FP64"},
		{`{"name":"a","shape":[1],"datatype":"COMPLEX","data":[1]}`, "is not a COMPLEX"},
		{`{"name":"a","shape":[1],"datatype":"BOOL","data":[null]}`, "is not a BOOL"},
		{`{"name":"a","shape":[-1],"datatype":"FP64","data":[1]}`, "not a positive"},
		{`{"name":"a","shape":[1000000,0],"datatype":"FP64","data":[]}`, "not a positive"},
		{`{"name":"a","shape":[4000000000,4000000000,4],"datatype":"FP64","data":[]}`, "too large"},
		{`{"name":"a","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"datatype":"FP64","data":[1]}`, "dimensions"},
		{`{"name":"a","shape":[1],"datatype":"FP64","data":1}`, "not an array"},
		{`{"name":"a","shape":[1],"datatype":"FP64"}`, "not an array"},
		{`{"name":"s","shape":[2],"datatype":"BYTES","data":["x","y"]}`, "one element, not 2"},
		{`{"name":"o","shape":[1],"datatype":"BYTES","data":["{"]}`, "text of a JSON object"},
		{`{"name":"o","shape":[1],"datatype":"INT8","data":[1]}`, "text of a JSON object"},
		{`{"name":"none","shape":[1],"datatype":"INT8","data":[1]}`, "no such input"},
	} {
		var in Tensor
		if err := json.Unmarshal([]byte(c.tensor), &in); err != nil {
			t.Fatal(c.tensor, err)
		}
		got, err := FromTensors(tensorFields, []Tensor{in})
		if strings.HasPrefix(c.want, "{") {
			if err != nil || string(got) != c.want {
				t.Errorf("%s: %s %v", c.tensor, got, err)
			}
		} else if err == nil || fault.ClassOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s %v, want %s", c.tensor, got, err, c.want)
		}
	}
}

func TestToTensors(t *testing.T) {
	for value, want := range map[string]Tensor{
		`7`:                      {Shape: []int64{1}, Datatype: "INT64", Data: []byte(`[7]`)},
		`1.5`:                    {Shape: []int64{1}, Datatype: "FP64", Data: []byte(`[1.5]`)},
		`true`:                   {Shape: []int64{1}, Datatype: "BOOL", Data: []byte(`[true]`)},
		`"x"`:                    {Shape: []int64{1}, Datatype: "BYTES", Data: []byte(`["x"]`)},
		`{"k":1}`:                {Shape: []int64{1}, Datatype: "BYTES", Data: []byte(`["{\"k\":1}"]`)},
		`[]`:                     {Shape: []int64{0}, Datatype: "FP64", Data: []byte(`[]`)},
		`[[1,2],[3,4],[5,6]]`:    {Shape: []int64{3, 2}, Datatype: "INT64", Data: []byte(`[1,2,3,4,5,6]`)},
		`[[1,2.5],[3,4]]`:        {Shape: []int64{2, 2}, Datatype: "FP64", Data: []byte(`[1,2.5,3,4]`)},
		`[99999999999999999999]`: {Shape: []int64{1}, Datatype: "FP64", Data: []byte(`[99999999999999999999]`)},
		`["a","b"]`:              {Shape: []int64{2}, Datatype: "BYTES", Data: []byte(`["a","b"]`)},
		`[[1,2],[3]]`:            {},
		`[1,"a"]`:                {},
		`[[1],2]`:                {},
		`[1,[2]]`:                {},
		`[null]`:                 {},
		`[{"a":1}]`:              {},
	} {
		got, err := ToTensors([]Field{{Name: "y", Type: "array"}}, []byte(`{"y":`+value+`}`), nil)
		if want.Shape == nil {
			if fault.CodeOf(err) != "output_no_tensor" {
				t.Errorf("%s: %+v %v", value, got, err)
			}
			continue
		}
		want.Name = "y"
		if err != nil || !reflect.DeepEqual(got, []Tensor{want}) {
			t.Errorf("%s: %s %+v %v", value, got[0].Data, got, err)
		}
	}
	fields := []Field{{Name: "y"}, {Name: "z"}}
	if got, err := ToTensors(fields, []byte(`{"y":1,"z":2}`), []string{"z"}); err != nil || len(got) != 1 || got[0].Name != "z" {
		t.Errorf("one of two: %+v %v", got, err)
	}
	if _, err := ToTensors(fields, []byte(`{"y":1,"z":2}`), []string{"w"}); fault.ClassOf(err) != fault.Invalid {
		t.Errorf("an output that there is not: %v", err)
	}
}

// What goes in as tensors comes out as the same tensors.
func FuzzTensor(f *testing.F) {
	for _, s := range []string{`{"name":"a","shape":[2,2],"datatype":"INT64","data":[1,2,3,4]}`, `{"name":"a","shape":[1],"datatype":"BYTES","data":["x"]}`, `{"name":"a","shape":[2,1],"datatype":"FP64","data":[[1.5],[2]]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var in Tensor
		if len(b) > 1<<16 || json.Unmarshal(b, &in) != nil {
			return
		}
		in.Name = "a"
		body, err := FromTensors(tensorFields, []Tensor{in})
		if err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%s", body)
		}
		out, err := ToTensors(tensorFields[:1], body, nil)
		if err == nil && len(in.Shape) > 0 && !reflect.DeepEqual(out[0].Shape, in.Shape) {
			t.Errorf("%s became %v", b, out[0].Shape)
		}
	})
}
