package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// configurations is the operator's list, nil for the built-in one. As a flag or
// a variable it is the name of a file; in the configuration file it may be the
// list itself.
type configurations struct{ list []hub.Configuration }

// Decode implements kong.MapperValue.
func (c *configurations) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("file")
	if err != nil {
		return err
	}
	var b []byte
	from := ""
	switch v := token.Value.(type) {
	case string:
		if v == "" {
			c.list = nil
			return nil
		}
		from = kong.ExpandPath(v)
		if b, err = os.ReadFile(from); err != nil {
			return err
		}
	default:
		from = "the configuration file"
		if b, err = json.Marshal(v); err != nil {
			return err
		}
	}
	if c.list, err = parseConfigurations(b); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return nil
}

// parseConfigurations reads a list. A key that means nothing is a mistake: a
// misspelt memory would otherwise be none.
func parseConfigurations(b []byte) ([]hub.Configuration, error) {
	var list []hub.Configuration
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("not a list of configurations: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the list of configurations")
	}
	if err := hub.CheckConfigurations(list); err != nil {
		return nil, fmt.Errorf("%s", fault.Sentence(err))
	}
	return list, nil
}
