// Package reading makes a page of a notebook that only can be read: no scripts,
// nothing from elsewhere, no way to act on a server in its reader's name. Whoever
// wrote the notebook is taken to be hostile. It knows no people, no files and no
// HTTP but for the policy that a page has to be served with.
package reading

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"cellar/internal/fault"
)

// Limits of what is shown. What is over them is cut, and the page says so.
const (
	maxItems  = 10_000   // cells, and outputs of one
	maxForms  = 32       // of one output
	maxText   = 1 << 20  // bytes of one output or source
	maxPage   = 48 << 20 // bytes of a page
	maxColour = 64 << 10 // bytes of a source that is coloured
	maxLaid   = 64 << 10 // bytes of Markdown that is laid out
)

// notebook is what is shown of one, of format 4.
type notebook struct {
	Cells    list[cell] `json:"cells"`
	Format   int        `json:"nbformat"`
	Metadata struct {
		Kernel struct {
			Display  string `json:"display_name"`
			Language string `json:"language"`
		} `json:"kernelspec"`
		Language struct {
			Name  string `json:"name"`
			Lexer any    `json:"pygments_lexer"`
		} `json:"language_info"`
	} `json:"metadata"`
}

type cell struct {
	Kind        string       `json:"cell_type"`
	Source      text         `json:"source"`
	Count       text         `json:"execution_count"`
	Outputs     list[output] `json:"outputs"`
	Attachments attachments  `json:"attachments"`
}

type output struct {
	Kind      string     `json:"output_type"`
	Stream    string     `json:"name"`
	Text      text       `json:"text"`
	Data      bundle     `json:"data"`
	Count     text       `json:"execution_count"`
	Error     text       `json:"ename"`
	Message   text       `json:"evalue"`
	Traceback list[text] `json:"traceback"`
}

// bundle is one thing in several forms, by media type.
type bundle map[string]text

// UnmarshalJSON implements json.Unmarshaler. What is over maxForms is left out.
func (f *bundle) UnmarshalJSON(b []byte) error {
	*f = bundle{}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for n := 0; d.More() && n < maxForms; n++ {
		key, err := d.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil
		}
		var t text
		if d.Decode(&t) != nil {
			return nil
		}
		(*f)[name] = t
	}
	return nil
}

// attachments are pictures of a cell, by name.
type attachments map[string]bundle

// UnmarshalJSON implements json.Unmarshaler. What is over maxForms is left out.
func (a *attachments) UnmarshalJSON(b []byte) error {
	*a = attachments{}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	for n := 0; d.More() && n < maxForms; n++ {
		key, err := d.Token()
		name, ok := key.(string)
		var one bundle
		if err != nil || !ok || d.Decode(&one) != nil {
			return nil
		}
		(*a)[name] = one
	}
	return nil
}

// list is an array of which the first maxItems are read: a small document can have
// very many, and each takes many times its length in memory.
type list[T any] struct {
	items []T
	more  bool
}

// UnmarshalJSON implements json.Unmarshaler. An item that is not what it should be
// is empty.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	*l = list[T]{}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return nil
	}
	for d.More() {
		if l.more = len(l.items) == maxItems; l.more {
			return nil
		}
		var v T
		err := d.Decode(&v)
		var kind *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &kind) {
			return nil
		}
		l.items = append(l.items, v)
	}
	return nil
}

// text is a string that may be written as a list of lines; what is neither stays
// the JSON that it is.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = text(one)
		return nil
	}
	*t = text(b)
	d := json.NewDecoder(bytes.NewReader(b))
	if first, err := d.Token(); err != nil || first != json.Delim('[') {
		return nil
	}
	var lines strings.Builder
	for d.More() {
		if next, err := d.Token(); err != nil {
			return nil
		} else if line, ok := next.(string); ok {
			lines.WriteString(line)
		} else {
			return nil // an array of other things
		}
	}
	*t = text(lines.String())
	return nil
}

var errNoNotebook = fault.New(fault.Unsupported, "bad_notebook", "This is no notebook that can be shown: cells of format 4 are expected.")

func parse(b []byte) (notebook, error) {
	var nb notebook
	err := json.Unmarshal(b, &nb)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) { // one field is not what it should be: the rest is shown
		err = nil
	}
	if err != nil || nb.Format < 4 {
		return nb, errNoNotebook
	}
	return nb, nil
}

// language is that of the code, by a name that highlighters know.
func (nb *notebook) language() string {
	lexer, _ := nb.Metadata.Language.Lexer.(string)
	for _, name := range []string{nb.Metadata.Language.Name, nb.Metadata.Kernel.Language, lexer} {
		if name != "" {
			return strings.ToLower(name)
		}
	}
	return ""
}
