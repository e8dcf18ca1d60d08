package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// aliasCmd works on the aliases of a project through the server's API.
type aliasCmd struct {
	Set      aliasSetCmd      `cmd:"" help:"Make an alias, or let one lead elsewhere."`
	List     aliasListCmd     `cmd:"" help:"List aliases."`
	History  aliasHistoryCmd  `cmd:"" help:"List what an alias led to, the newest first."`
	Rollback aliasRollbackCmd `cmd:"" help:"Put a former setting in force again, or the one before."`
	Delete   aliasDeleteCmd   `cmd:"" help:"Delete an alias."`
}

type share struct {
	Node     string `json:"node"`
	Name     string `json:"name,omitempty"`
	Revision int    `json:"revision,omitempty"`
	Percent  int    `json:"percent"`
}

func (s share) String() string {
	name := s.Node
	if s.Name != "" {
		name = s.Name
	}
	if s.Revision != 0 {
		name += "@" + strconv.Itoa(s.Revision)
	}
	return fmt.Sprintf("%s=%d", name, s.Percent)
}

type guard struct {
	ErrorPercent float64 `json:"error_percent,omitempty" help:"Go back when more percent of a target's calls fail."`
	LatencyMS    float64 `json:"latency_ms,omitempty" name:"latency-ms" help:"Go back when a target's calls take longer, in milliseconds, at --percentile."`
	Percentile   float64 `json:"percentile,omitempty" help:"Of --latency-ms; 95 if left out."`
	Window       int     `json:"window_seconds,omitempty" help:"Seconds over which calls are counted; 60 if left out."`
	MinCalls     int     `json:"min_calls,omitempty" help:"Fewer calls of a target say nothing; 20 if left out."`
}

type setting struct {
	Number  int
	Targets []share
	Public  bool
	Author  string
	Reason  string
	At      time.Time
}

func (s setting) leadsTo() string {
	var out []string
	for _, t := range s.Targets {
		out = append(out, t.String())
	}
	return strings.Join(out, " ")
}

type aliasView struct {
	ID, Name, Key string
	Setting       setting
}

type aliasSetCmd struct {
	inProject
	Name    string   `arg:"" help:"The alias's name."`
	Targets []string `arg:"" help:"What it leads to: NODE@REVISION=PERCENT, or NODE=PERCENT for the node's current revision. The percentages add up to 100."`
	Public  bool     `help:"It answers without a key."`
	Reason  string   `help:"Why, for the history."`
	guard
}

func (c *aliasSetCmd) Run(ctx context.Context, out io.Writer) error {
	in := map[string]any{"public": c.Public, "reason": c.Reason, "guard": c.guard}
	var list []share
	for _, text := range c.Targets {
		s, err := parseShare(text)
		if err != nil {
			return err
		}
		list = append(list, s)
	}
	in["targets"] = list
	var a aliasView
	raw, err := c.begin(ctx, http.MethodPut, c.at("aliases", c.Name), in, &a)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		fmt.Fprintf(out, "%s leads to %s.\naddress   %s\n", a.Name, a.Setting.leadsTo(), c.address("aliases", a.ID))
		if a.Key != "" {
			fmt.Fprintf(out, "key       %s\nThe key is shown only now: keep it somewhere safe.\n", a.Key)
		}
	})
}

func parseShare(text string) (s share, err error) {
	target, percent, ok := strings.Cut(text, "=")
	if !ok {
		return s, fmt.Errorf("%q: write NODE@REVISION=PERCENT", text)
	}
	if s.Percent, err = strconv.Atoi(strings.TrimSuffix(percent, "%")); err != nil {
		return s, fmt.Errorf("%q: %q is not a percentage", text, percent)
	}
	name, revision, one := strings.Cut(target, "@")
	s.Node = name
	if one {
		if s.Revision, err = strconv.Atoi(revision); err != nil || s.Revision < 1 {
			return s, fmt.Errorf("%q: %q is not the number of a revision", text, revision)
		}
	}
	return s, nil
}

type aliasListCmd struct{ inProject }

func (c *aliasListCmd) Run(ctx context.Context, out io.Writer) error {
	var list struct{ Items []aliasView }
	raw, err := c.do(ctx, http.MethodGet, c.at("aliases"), nil, &list)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		t := table(out, "NAME", "ID", "SETTING", "LEADS TO")
		for _, a := range list.Items {
			t.row(a.Name, a.ID, a.Setting.Number, a.Setting.leadsTo())
		}
		t.Flush()
	})
}

type aliasHistoryCmd struct {
	inProject
	Name string `arg:"" help:"Name or ID of the alias."`
}

func (c *aliasHistoryCmd) Run(ctx context.Context, out io.Writer) error {
	var list struct{ Items []setting }
	raw, err := c.do(ctx, http.MethodGet, c.at("aliases", c.Name, "history"), nil, &list)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		t := table(out, "SETTING", "SINCE", "BY", "LEADS TO", "WHY")
		for _, s := range list.Items {
			by := s.Author
			if by == "" {
				by = "(the server)"
			}
			t.row(s.Number, s.At.Local().Format("2006-01-02 15:04:05"), by, s.leadsTo(), s.Reason)
		}
		t.Flush()
	})
}

type aliasRollbackCmd struct {
	inProject
	Name    string `arg:"" help:"Name or ID of the alias."`
	Setting int    `arg:"" optional:"" help:"Number of the setting; the one before if left out."`
}

func (c *aliasRollbackCmd) Run(ctx context.Context, out io.Writer) error {
	in := map[string]int{}
	if c.Setting != 0 {
		in["setting"] = c.Setting
	}
	var a aliasView
	raw, err := c.begin(ctx, http.MethodPost, c.at("aliases", c.Name, "rollback"), in, &a)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() { fmt.Fprintf(out, "%s leads to %s.\n", a.Name, a.Setting.leadsTo()) })
}

type aliasDeleteCmd struct {
	inProject
	Name string `arg:"" help:"Name or ID of the alias."`
}

func (c *aliasDeleteCmd) Run(ctx context.Context, out io.Writer) error {
	if _, err := c.do(ctx, http.MethodDelete, c.at("aliases", c.Name), nil, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s is deleted.\n", c.Name)
	return err
}
