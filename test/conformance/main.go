// Command conformance runs the same checks on jupyter_server and on Cellar, through
// their public Jupyter API alone, and prints two columns.
//
// It is a program and no go test: a check that fails on the peer is a finding, not a
// failure, and what counts is the comparison of two servers, with the reasons that
// exceptions.txt gives. Started by scripts/conformance.sh.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	only := flag.String("only", "", "run the checks whose names match this regular expression")
	side := flag.String("side", "", "run them on this side only: jupyter_server or cellar")
	verbose := flag.Bool("v", false, "say how each server's log ends")
	flag.Parse()
	ok, err := run(ctx, *only, *side, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
	}
	if err != nil || !ok {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, only, side string, verbose bool) (ok bool, err error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return false, err
	}
	reasons, err := readExceptions()
	if err != nil {
		return false, err
	}
	checks, err := allChecks()
	if err != nil {
		return false, err
	}
	w, err := newWorld(ctx)
	defer func() { ok = w.close(verbose) && ok }()
	if err != nil {
		return false, err
	}
	r := newReport(os.Stdout, reasons)
	r.whole = only == "" && side == ""
	for _, c := range checks {
		if !match.MatchString(c.name) {
			continue
		}
		if ctx.Err() != nil {
			r.whole = false
			r.sum()
			return false, ctx.Err()
		}
		out := map[string]outcome{}
		for _, s := range []*site{w.jupyter, w.cellar} {
			if side == "" || side == s.name {
				out[s.name] = c.on(ctx, w, s)
			}
		}
		r.line(c, out)
	}
	return r.sum(), nil
}
