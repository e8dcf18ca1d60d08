package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// keyCmd works on the keys of a project's callers through the server's API.
type keyCmd struct {
	List   keyListCmd   `cmd:"" help:"List keys."`
	Add    keyAddCmd    `cmd:"" help:"Make a key for nodes and aliases; its secret is shown once."`
	Rotate keyRotateCmd `cmd:"" help:"Give a key a new secret, shown once."`
	Revoke keyRevokeCmd `cmd:"" help:"End a key at once."`
}

type keyView struct {
	ID, Name, Key string
	Scope         []string
	Rate          float64
	Quota         int64
	CallsToday    int64      `json:"calls_today"`
	UsedAt        *time.Time `json:"used_at"`
}

func (k keyView) tell(out io.Writer) {
	fmt.Fprintf(out, "ID    %s\nkey   %s\nThe key is shown only now: keep it somewhere safe.\n", k.ID, k.Key)
}

type keyListCmd struct{ inProject }

func (c *keyListCmd) Run(ctx context.Context, out io.Writer) error {
	var list struct{ Items []keyView }
	raw, err := c.do(ctx, http.MethodGet, c.at("keys"), nil, &list)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		t := table(out, "NAME", "ID", "FOR", "A SECOND", "A DAY", "TODAY", "LAST USED")
		for _, k := range list.Items {
			used := "never"
			if k.UsedAt != nil {
				used = k.UsedAt.Local().Format("2006-01-02 15:04")
			}
			t.row(k.Name, k.ID, strings.Join(k.Scope, " "), limit(k.Rate), limit(float64(k.Quota)), k.CallsToday, used)
		}
		t.Flush()
	})
}

func limit(n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

type keyAddCmd struct {
	inProject
	Name  string   `arg:"" help:"Whose key it is."`
	For   []string `arg:"" help:"Names or IDs of the nodes and aliases."`
	Rate  float64  `help:"Calls a second; 0: no limit."`
	Quota int64    `help:"Calls a day, in UTC; 0: no limit."`
}

func (c *keyAddCmd) Run(ctx context.Context, out io.Writer) error {
	var k keyView
	raw, err := c.do(ctx, http.MethodPost, c.at("keys"), map[string]any{"name": c.Name, "scope": c.For, "rate": c.Rate, "quota": c.Quota}, &k)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() { k.tell(out) })
}

type keyRotateCmd struct {
	inProject
	ID      string        `arg:"" help:"The key's ID."`
	Overlap time.Duration `help:"How long the old secret stays good, 30 days at most." default:"1h"`
}

func (c *keyRotateCmd) Run(ctx context.Context, out io.Writer) error {
	var k keyView
	raw, err := c.do(ctx, http.MethodPost, c.at("keys", c.ID, "rotate"), map[string]int{"overlap_seconds": int(c.Overlap.Seconds())}, &k)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() { k.tell(out) })
}

type keyRevokeCmd struct {
	inProject
	ID string `arg:"" help:"The key's ID."`
}

func (c *keyRevokeCmd) Run(ctx context.Context, out io.Writer) error {
	if _, err := c.do(ctx, http.MethodDelete, c.at("keys", c.ID), nil, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "The key is revoked.")
	return err
}
