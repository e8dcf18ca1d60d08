package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cellar/internal/fault"
)

var inputs = []Field{
	{Name: "s", Type: "string"}, {Name: "n", Type: "number"}, {Name: "i", Type: "integer"},
	{Name: "b", Type: "boolean"}, {Name: "a", Type: "array"}, {Name: "o", Type: "object"},
}

// body is a good call with one field's JSON replaced.
func body(field, value string) string {
	parts := []string{}
	for _, f := range []struct{ name, value string }{{"s", `"x"`}, {"n", "1.5"}, {"i", "7"}, {"b", "true"}, {"a", "[]"}, {"o", "{}"}} {
		if f.name == field {
			f.value = value
		}
		parts = append(parts, fmt.Sprintf("%q:%s", f.name, f.value))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestCheckCall(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want string // in the sentence; "" means accepted
	}{
		"good":                    {body("", ""), ""},
		"white space":             {" \n" + body("", "") + "\t\r\n", ""},
		"an integer is a number":  {body("n", "3"), ""},
		"exponents are numbers":   {body("n", "-1e-7"), ""},
		"a negative integer":      {body("i", "-12"), ""},
		"a huge integer":          {body("i", strings.Repeat("9", 1000)), ""},
		"strings that look wrong": {body("s", `"}{][\"\\ \u0000 NaN"`), ""},
		"64 levels":               {body("a", strings.Repeat("[", 64)+strings.Repeat("]", 64)), ""},
		"brackets in a string":    {body("s", `"`+strings.Repeat("[", 100)+`"`), ""},

		"nothing":              {"", "must be a JSON object"},
		"null":                 {"null", "must be a JSON object"},
		"an array":             {"[]", "must be a JSON object"},
		"a string":             {`"x"`, "must be a JSON object"},
		"missing":              {`{"s":"x","n":1,"i":7,"b":true,"a":[]}`, "o: this input is missing."},
		"all missing":          {"{}", "s: this input is missing."},
		"unknown":              {strings.Replace(body("", ""), "{", `{"zz":1,`, 1), "zz: there is no such input; the inputs are: s, n, i, b, a, o."},
		"case matters":         {strings.Replace(body("", ""), `"s"`, `"S"`, 1), "S: there is no such input"},
		"twice":                {strings.Replace(body("", ""), "{", `{"i":7,`, 1), "i: it is given twice."},
		"twice, by an escape":  {strings.Replace(body("", ""), "{", `{"\u0069":7,`, 1), "i: it is given twice."},
		"string wanted":        {body("s", "1"), "s: it must be a string, not an integer."},
		"number wanted":        {body("n", `"1"`), "n: it must be a number, not a string."},
		"integer wanted":       {body("i", "1.0"), "i: it must be an integer, not a number."},
		"integer, by exponent": {body("i", "1e3"), "i: it must be an integer, not a number."},
		"boolean wanted":       {body("b", "0"), "b: it must be a boolean, not an integer."},
		"array wanted":         {body("a", "{}"), "a: it must be an array, not an object."},
		"object wanted":        {body("o", "[]"), "o: it must be an object, not an array."},
		"null for a value":     {body("o", "null"), "o: it must be an object, not null."},
		"65 levels":            {body("a", strings.Repeat("[", 65)+strings.Repeat("]", 65)), "a: it is nested deeper than 64 levels."},
		"a million levels":     {body("a", strings.Repeat("[", 1<<20)), "a: it is not JSON"},
		"NaN":                  {body("n", "NaN"), "n: it is not JSON"},
		"Infinity":             {body("n", "-Infinity"), "n: it is not JSON"},
		"a leading zero":       {body("n", "01"), ""}, // see below: any refusal will do
		"single quotes":        {body("s", "'x'"), "s: it is not JSON"},
		"a comma too many":     {strings.TrimSuffix(body("", ""), "}") + ",}", "not JSON"},
		"no colon":             {`{"s" "x"}`, "not JSON"},
		"cut":                  {strings.TrimSuffix(body("", ""), "}"), "not JSON"},
		"a name no string":     {`{1:2}`, "not JSON"},
		"trailing data":        {body("", "") + "{}", "Something follows"},
		"trailing garbage":     {body("", "") + "x", "Something follows"},
		"not UTF-8":            {body("s", "\"\xff\""), "not UTF-8"},
	} {
		err := CheckCall(inputs, []byte(c.body))
		if name == "a leading zero" {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, fault.Invalid) || !strings.Contains(fault.Sentence(err), c.want) {
			t.Errorf("%s: got %v, want Invalid with %q", name, err, c.want)
		}
	}
	if err := CheckCall(nil, []byte("{}")); err != nil {
		t.Errorf("no inputs: %v", err)
	}
	if err := CheckCall(nil, []byte(`{"x":1}`)); !strings.Contains(fault.Sentence(err), "the inputs are: none") {
		t.Errorf("no inputs, one given: %v", err)
	}
}

// TestASentenceStaysShort whatever the caller named its input.
func TestASentenceStaysShort(t *testing.T) {
	err := CheckCall(nil, []byte(`{"`+strings.Repeat("x", 1<<20)+`":1}`))
	if n := len(fault.Sentence(err)); n == 0 || n > 300 {
		t.Errorf("%d bytes", n)
	}
}

func TestAHundredFields(t *testing.T) {
	fields := make([]Field, 100)
	values := map[string]int{}
	for i := range fields {
		fields[i] = Field{Name: fmt.Sprintf("f%d", i), Type: "integer"}
		values[fields[i].Name] = i
	}
	b, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckFields("inputs", fields); err != nil {
		t.Error(err)
	}
	if err := CheckCall(fields, b); err != nil {
		t.Error(err)
	}
	if err := CheckFields("inputs", append(fields, Field{Name: "one_more", Type: "string"})); fault.CodeOf(err) != "too_many_fields" {
		t.Errorf("101 fields: %v", err)
	}
}

func TestCheckFields(t *testing.T) {
	for name, c := range map[string]struct {
		fields []Field
		code   string
	}{
		"none":           {nil, ""},
		"every type":     {inputs, ""},
		"other scripts":  {[]Field{{Name: "данные_2", Type: "array"}, {Name: "_", Type: "object"}, {Name: "数", Type: "number"}}, ""},
		"empty":          {[]Field{{Name: "", Type: "string"}}, "field_name"},
		"a digit first":  {[]Field{{Name: "2x", Type: "string"}}, "field_name"},
		"a space":        {[]Field{{Name: "a b", Type: "string"}}, "field_name"},
		"a newline":      {[]Field{{Name: "a\n", Type: "string"}}, "field_name"},
		"code":           {[]Field{{Name: "a=1;b", Type: "string"}}, "field_name"},
		"101 bytes":      {[]Field{{Name: strings.Repeat("x", 101), Type: "string"}}, "field_name"},
		"no type":        {[]Field{{Name: "a"}}, "field_type"},
		"another type":   {[]Field{{Name: "a", Type: "float"}}, "field_type"},
		"one name twice": {[]Field{{Name: "a", Type: "string"}, {Name: "a", Type: "number"}}, "field_twice"},
	} {
		err := CheckFields("inputs", c.fields)
		if (c.code == "" && err != nil) || (c.code != "" && (fault.CodeOf(err) != c.code || !errors.Is(err, fault.Invalid))) {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

// FuzzCheckCall holds the check against encoding/json: what is accepted is an
// object with exactly the inputs, each of its type.
func FuzzCheckCall(f *testing.F) {
	f.Add([]byte(body("", "")))
	f.Add([]byte(body("s", `"\ud800"`)))
	f.Add([]byte(body("a", "[[[1,2,{\"x\":null}]]]")))
	f.Add([]byte(`{"s":"x","s":"y"}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := CheckCall(inputs, b)
		if err != nil {
			if !errors.Is(err, fault.Invalid) || fault.Sentence(err) == "" {
				t.Fatalf("%q: %v", b, err)
			}
			return
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil && !strings.Contains(err.Error(), "cannot unmarshal number") {
			t.Fatalf("accepted, but: %v", err)
		}
		if err == nil && len(got) != len(inputs) {
			t.Fatalf("accepted with %d inputs", len(got))
		}
	})
}
