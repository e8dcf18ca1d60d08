package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// check is one statement about a Jupyter server.
type check struct {
	name string
	// only names the one side that is asked; why says why the other is not.
	only, why string
	run       func(*try)
	// limit bounds it; zero: a minute.
	limit time.Duration
}

// outcome is what came of a check on one side: nothing to say if it passed.
type outcome struct {
	asked  bool
	failed string
	note   string
	parts  []subtest // of a check that is many: those that failed
}

// subtest is one of the tests that a check is made of.
type subtest struct{ name, failed string }

// try is one run of a check on one site.
type try struct {
	*site
	ctx   context.Context
	world *world
	dir   string // a folder of its own, made for the check
	vars  map[string]string
	undo  []func()
	note  string
	parts []subtest
}

// failure is how a check ends early.
type failure string

// failf ends the check.
func (t *try) failf(format string, a ...any) { panic(failure(fmt.Sprintf(format, a...))) }

// part notes that one of the tests of this check has failed.
func (t *try) part(name, failed string) { t.parts = append(t.parts, subtest{name, failed}) }

// must ends the check on an error.
func (t *try) must(err error) {
	if err != nil {
		t.failf("%v", err)
	}
}

// want ends the check unless two values are the same.
func (t *try) want(what string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.failf("%s is %v, want %v", what, got, want)
	}
}

// later runs f when the check has ended, the last registered first.
func (t *try) later(f func()) { t.undo = append(t.undo, f) }

// on runs the check on a site.
func (c *check) on(ctx context.Context, w *world, s *site) (out outcome) {
	if c.only != "" && c.only != s.name {
		return outcome{}
	}
	out.asked = true
	limit := c.limit
	if limit == 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := &try{site: s, ctx: ctx, world: w, vars: map[string]string{}}
	defer func() {
		for _, f := range slices.Backward(t.undo) {
			f()
		}
	}()
	defer func() {
		switch v := recover().(type) {
		case nil:
		case failure:
			out.failed = string(v)
		default:
			out.failed = fmt.Sprintf("panic: %v\n%s", v, debug.Stack())
		}
		out.note, out.parts = t.note, t.parts
	}()
	t.makeDir(c.name)
	c.run(t)
	return out
}

// allChecks are those of the exchange files, then those written in Go.
func allChecks() ([]*check, error) {
	all, err := readExchanges()
	if err != nil {
		return nil, err
	}
	for _, group := range [][]*check{fileChecks, kernelChecks, channelChecks, frameChecks, terminalChecks, doorChecks, clientChecks} {
		all = append(all, group...)
	}
	services, err := serviceChecks()
	if err != nil {
		return nil, err
	}
	ui, err := galataChecks()
	if err != nil {
		return nil, err
	}
	all = append(append(all, services...), ui...)
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.name] {
			return nil, fmt.Errorf("there are two checks named %s", c.name)
		}
		seen[c.name] = true
	}
	return all, nil
}
