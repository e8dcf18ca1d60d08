// Package node serves what was published: the contract of inputs and outputs,
// calls to a thawed worker, the pool of instances behind a node. It knows no
// users and no records.
package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cellar/internal/fault"
)

// Field is one input or output: a name and a type of JSON Schema.
type Field struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Example json.RawMessage `json:"example,omitempty"`
}

// Types are JSON Schema's, as far as a field may have them.
var Types = []string{"string", "number", "integer", "boolean", "array", "object"}

// MaxBody bounds a call's input and its answer in bytes.
const MaxBody = 16 << 20

const (
	maxFields = 100
	maxDepth  = 64
)

var identifier = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_]*$`)

// CheckFields reports what is wrong with a list of inputs or outputs.
func CheckFields(what string, fields []Field) error {
	if len(fields) > maxFields {
		return fault.Newf(fault.Invalid, "too_many_fields", "A node has %d %s at most.", maxFields, what)
	}
	seen := map[string]bool{}
	for _, f := range fields {
		switch {
		case !identifier.MatchString(f.Name) || len(f.Name) > 100:
			return fault.Newf(fault.Invalid, "field_name", "%.60q cannot be a variable's name.", f.Name)
		case !slices.Contains(Types, f.Type):
			return fault.Newf(fault.Invalid, "field_type", "%s: the type %.30q is none of %s.", f.Name, f.Type, strings.Join(Types, ", "))
		case seen[f.Name]:
			return fault.Newf(fault.Invalid, "field_twice", "%s is named twice.", f.Name)
		}
		seen[f.Name] = true
	}
	return nil
}

// CheckCall reports what is wrong with the JSON object of a call, naming the
// place: not JSON, not an object, too deep, a field missing, unknown, twice or
// of the wrong type.
func CheckCall(inputs []Field, body []byte) error {
	if !utf8.Valid(body) {
		return invalid("", "the body is not UTF-8 text")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	t, err := d.Token()
	if err != nil || t != json.Delim('{') {
		return invalid("", "the body must be a JSON object with the inputs")
	}
	got := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return invalid("", "the body is not JSON: "+err.Error())
		}
		name, _ := t.(string)
		i := slices.IndexFunc(inputs, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return invalid(name, "there is no such input; the inputs are: "+names(inputs))
		}
		if got[name] {
			return invalid(name, "it is given twice")
		}
		got[name] = true
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return invalid(name, "it is not JSON: "+err.Error())
		}
		if depth(v) > maxDepth {
			return invalid(name, fmt.Sprintf("it is nested deeper than %d levels", maxDepth))
		}
		if kind := typeOf(v); !fits(inputs[i].Type, kind) {
			return invalid(name, fmt.Sprintf("it must be %s, not %s", article(inputs[i].Type), article(kind)))
		}
	}
	if _, err := d.Token(); err != nil {
		return invalid("", "the body is not JSON: "+err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("", "something follows the JSON object")
	}
	for _, f := range inputs {
		if !got[f.Name] {
			return invalid(f.Name, "this input is missing")
		}
	}
	return nil
}

func invalid(field, what string) error {
	if field == "" {
		return fault.New(fault.Invalid, "input_invalid", strings.ToUpper(what[:1])+what[1:]+".")
	}
	return fault.Newf(fault.Invalid, "input_invalid", "%.100s: %s.", field, what)
}

func names(fields []Field) string {
	if len(fields) == 0 {
		return "none"
	}
	var out []string
	for _, f := range fields {
		out = append(out, f.Name)
	}
	return strings.Join(out, ", ")
}

func article(kind string) string {
	switch kind {
	case "integer", "array", "object":
		return "an " + kind
	case "null":
		return kind
	}
	return "a " + kind
}

// typeOf is the JSON Schema type of a JSON text.
func typeOf(v json.RawMessage) string {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0 || v[0] == 'n':
		return "null"
	case v[0] == '"':
		return "string"
	case v[0] == '{':
		return "object"
	case v[0] == '[':
		return "array"
	case v[0] == 't' || v[0] == 'f':
		return "boolean"
	case bytes.ContainsAny(v, ".eE"):
		return "number"
	}
	return "integer"
}

func fits(want, got string) bool {
	return want == got || (want == "number" && got == "integer")
}

func depth(v []byte) int {
	now, most, inString, escaped := 0, 0, false, false
	for _, c := range v {
		switch {
		case escaped:
			escaped = false
		case inString:
			switch c {
			case '\\':
				escaped = true
			case '"':
				inString = false
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			now++
			most = max(most, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return most
}
