package main

import (
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
)

// exceptions.txt holds a line for each difference that is meant or known:
//
//	check | side | reason
//
//go:embed exceptions.txt
var exceptionsText string

type exception struct{ check, side string }

func readExceptions() (map[exception]string, error) {
	out := map[exception]string{}
	for n, line := range strings.Split(exceptionsText, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		part := strings.SplitN(line, "|", 3)
		if len(part) != 3 {
			return nil, fmt.Errorf("exceptions.txt, line %d: not check | side | reason", n+1)
		}
		key := exception{strings.TrimSpace(part[0]), strings.TrimSpace(part[1])}
		reason := strings.TrimSpace(part[2])
		if _, there := out[key]; there || reason == "" || key.side != jupyterSide && key.side != cellarSide {
			return nil, fmt.Errorf("exceptions.txt, line %d: said twice, without a reason, or of no such side", n+1)
		}
		out[key] = reason
	}
	return out, nil
}

const (
	jupyterSide = "jupyter_server"
	cellarSide  = "cellar"
)

// report prints the two columns.
type report struct {
	out     io.Writer
	reasons map[exception]string
	used    map[exception]bool
	differ  []string
	bad     []string
	passed  map[string]int
	asked   map[string]int
	alone   map[string][]string // names of the checks of one side, by the reason
	seen    map[string]bool
	whole   bool // all checks on both sides: an exception that nothing needs is then told
}

func newReport(out io.Writer, reasons map[exception]string) *report {
	r := &report{out: out, reasons: reasons, used: map[exception]bool{}, alone: map[string][]string{}, seen: map[string]bool{}, passed: map[string]int{}, asked: map[string]int{}}
	fmt.Fprintf(out, "%-44s %-15s %s\n", "check", jupyterSide, cellarSide)
	return r
}

func (r *report) line(c *check, out map[string]outcome) {
	r.seen[c.name] = true
	var cells []string
	for _, side := range []string{jupyterSide, cellarSide} {
		o := out[side]
		cells = append(cells, r.cell(c, side, o))
	}
	fmt.Fprintf(r.out, "%-44s %-15s %s\n", c.name, cells[0], cells[1])
	for _, side := range []string{jupyterSide, cellarSide} {
		for _, p := range out[side].parts {
			fmt.Fprintf(r.out, "    %s: not passed: %s\n", side, p.name)
		}
		if o := out[side]; o.failed != "" {
			fmt.Fprintf(r.out, "    %s: %s\n", side, o.failed)
		} else if o.note != "" {
			fmt.Fprintf(r.out, "    %s: %s\n", side, o.note)
		}
	}
	if c.only != "" {
		key := fmt.Sprintf("only %s is asked: %s", c.only, c.why)
		r.alone[key] = append(r.alone[key], c.name)
	}
}

func (r *report) cell(c *check, side string, o outcome) string {
	if !o.asked {
		return "-"
	}
	r.asked[side]++
	if o.failed == "" && len(o.parts) == 0 {
		r.passed[side]++
		return "ok"
	}
	if o.failed == "" {
		return r.cellOfMany(c, side, o)
	}
	key := exception{c.name, side}
	if reason, ok := r.reasons[key]; ok {
		r.used[key] = true
		r.differ = append(r.differ, fmt.Sprintf("%s: %s differs: %s", c.name, side, reason))
		return "differs"
	}
	r.bad = append(r.bad, fmt.Sprintf("%s: %s: %s", c.name, side, o.failed))
	return "FAIL"
}

// cellOfMany is for a check of many tests: each that failed wants an exception of its own,
// named "check: test".
func (r *report) cellOfMany(c *check, side string, o outcome) string {
	cell := "differs"
	for _, p := range o.parts {
		name := c.name + ": " + p.name
		key := exception{name, side}
		if reason, ok := r.reasons[key]; ok {
			r.used[key] = true
			r.differ = append(r.differ, fmt.Sprintf("%s: %s differs: %s", name, side, reason))
			continue
		}
		cell = "FAIL"
		r.bad = append(r.bad, fmt.Sprintf("%s: %s: %s", name, side, p.failed))
	}
	return cell
}

// sum prints what is to be said at the end; false when the run has failed: a check
// of Cellar's that failed, or one of the peer's, for no reason that is listed.
func (r *report) sum() bool {
	fmt.Fprintf(r.out, "%-44s %-15s %s\n", "sum", r.share(jupyterSide), r.share(cellarSide))
	section := func(title string, list []string) {
		if len(list) > 0 {
			fmt.Fprintf(r.out, "\n%s\n", title)
		}
		for _, line := range list {
			fmt.Fprintln(r.out, "  "+line)
		}
	}
	section("differences, and why:", r.differ)
	var alone []string
	for why, names := range r.alone {
		alone = append(alone, fmt.Sprintf("%s\n    %s", why, strings.Join(names, " ")))
	}
	slices.Sort(alone)
	section("checks of one side:", alone)
	var stale []string
	for key := range r.reasons {
		check, _, _ := strings.Cut(key.check, ": ")
		if r.whole && r.seen[check] && !r.used[key] {
			stale = append(stale, key.check+" | "+key.side)
		}
	}
	section("exceptions that nothing needed this time:", stale)
	section("failed, without an exception:", r.bad)
	fmt.Fprintf(r.out, "\n%d passed, %d failed\n", r.passed[cellarSide], len(r.bad))
	return len(r.bad) == 0 && r.asked[cellarSide]+r.asked[jupyterSide] > 0
}

func (r *report) share(side string) string {
	return fmt.Sprintf("%d/%d", r.passed[side], r.asked[side])
}
