// Command testcount reads "go test -json" and prints it for people: a line for
// each package, all that a failed test said, why tests were skipped. It appends
// "passed failed skipped" to the file named by its argument. It knows nothing of
// what is tested.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// tally counts what happened to tests; those that hold others are not counted
// beside them.
type tally struct {
	out             io.Writer
	passed          int
	failed          int
	skipped         int
	said            map[string][]string // output by package and test
	inner           map[string]bool     // tests that hold others
	broken          map[string]bool     // tests that hold one that failed
	failures, tests map[string]int      // by package
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go test -json ... | testcount FILE")
		os.Exit(2)
	}
	t := &tally{out: os.Stdout, said: map[string][]string{}, inner: map[string]bool{}, broken: map[string]bool{}, failures: map[string]int{}, tests: map[string]int{}}
	err := t.read(os.Stdin)
	if err == nil {
		err = t.keep(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(2)
	}
	if t.failed > 0 {
		os.Exit(1)
	}
}

func (t *tally) keep(name string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, t.passed, t.failed, t.skipped)
	return err
}

func (t *tally) read(r io.Reader) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var e event
		if json.Unmarshal(s.Bytes(), &e) != nil { // go says it in plain words when it cannot build
			fmt.Fprintln(t.out, s.Text())
			continue
		}
		t.take(e)
	}
	return s.Err()
}

func (t *tally) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "run":
		t.inner[outer(e)] = true
	case "output", "build-output":
		t.said[key] = append(t.said[key], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
		} else {
			t.endTest(e, key)
		}
	case "build-fail":
		fmt.Fprint(t.out, strings.Join(t.said[key], ""))
	}
}

func (t *tally) endTest(e event, key string) {
	counts := 1
	if t.inner[key] {
		counts = 0
	}
	switch e.Action {
	case "pass":
		t.passed += counts
		t.tests[e.Package] += counts
	case "skip":
		t.skipped += counts
		fmt.Fprintf(t.out, "skip  %s %s: %s\n", e.Package, e.Test, reason(t.said[key]))
	case "fail":
		t.failures[e.Package]++
		if !t.broken[key] { // one that holds others may fail by itself
			t.failed++
		}
		t.broken[outer(e)] = true
		fmt.Fprint(t.out, strings.Join(t.said[key], ""))
	}
	delete(t.said, key)
}

// outer is the key of the test that holds this one; of a test on its own it is
// that of none.
func outer(e event) string {
	i := strings.LastIndexByte(e.Test, '/')
	return e.Package + " " + e.Test[:max(i, 0)]
}

// endPackage counts a package that failed though none of its tests did as one
// failure: it could not be built, or a test ended the program.
func (t *tally) endPackage(e event) {
	key := e.Package + " "
	switch {
	case e.Action == "fail" && t.failures[e.Package] == 0:
		t.failed++
		for k, said := range t.said {
			if strings.HasPrefix(k, key) {
				fmt.Fprint(t.out, strings.Join(said, ""))
			}
		}
		fallthrough
	case e.Action == "fail":
		fmt.Fprintf(t.out, "FAIL  %s\n", e.Package)
	case e.Action == "pass":
		fmt.Fprintf(t.out, "ok    %s (%d tests, %.1f s)\n", e.Package, t.tests[e.Package], e.Elapsed)
	}
}

// reason is what a test said when it was skipped, without the file it said it in.
func reason(said []string) string {
	for _, s := range said {
		if s = strings.TrimSpace(s); s != "" && !strings.HasPrefix(s, "===") && !strings.HasPrefix(s, "---") {
			if _, after, ok := strings.Cut(s, ".go:"); ok {
				_, s, _ = strings.Cut(after, ": ")
			}
			return s
		}
	}
	return "no reason given"
}
