// Package reading makes a page of a notebook that only can be read: no scripts,
// nothing from elsewhere, no way to act on a server in its reader's name. Whoever
// wrote the notebook is taken to be hostile. It knows no people, no files and no
// HTTP but for the policy that a page has to be served with.
package reading

import (
	"encoding/json"
	"errors"
	"strings"

	"cellar/internal/fault"
)

// Limits of what is shown. What is over them is cut, and the page says so.
const (
	maxCells  = 20_000
	maxText   = 1 << 20  // bytes of one output or source
	maxPage   = 48 << 20 // bytes of a page
	maxColour = 64 << 10 // bytes of a source that is coloured
	maxLaid   = 64 << 10 // bytes of Markdown that is laid out
)

// notebook is what is shown of one, of format 4.
type notebook struct {
	Cells    []cell `json:"cells"`
	Format   int    `json:"nbformat"`
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
	Kind        string            `json:"cell_type"`
	Source      text              `json:"source"`
	Count       text              `json:"execution_count"`
	Outputs     []output          `json:"outputs"`
	Attachments map[string]bundle `json:"attachments"`
}

type output struct {
	Kind      string `json:"output_type"`
	Stream    string `json:"name"`
	Text      text   `json:"text"`
	Data      bundle `json:"data"`
	Count     text   `json:"execution_count"`
	Error     text   `json:"ename"`
	Message   text   `json:"evalue"`
	Traceback []text `json:"traceback"`
}

// bundle is one thing in several forms, by media type.
type bundle map[string]text

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
	var lines []string
	if json.Unmarshal(b, &lines) == nil {
		*t = text(strings.Join(lines, ""))
		return nil
	}
	*t = text(b)
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
