package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestCounting(t *testing.T) {
	const stream = `{"Action":"run","Package":"a","Test":"T1"}
{"Action":"output","Package":"a","Test":"T1","Output":"quiet\n"}
{"Action":"pass","Package":"a","Test":"T1","Elapsed":0.1}
{"Action":"run","Package":"a","Test":"T2"}
{"Action":"run","Package":"a","Test":"T2/x"}
{"Action":"run","Package":"a","Test":"T2/y"}
{"Action":"output","Package":"a","Test":"T2/y","Output":"loud\n"}
{"Action":"pass","Package":"a","Test":"T2/x"}
{"Action":"fail","Package":"a","Test":"T2/y"}
{"Action":"fail","Package":"a","Test":"T2"}
{"Action":"run","Package":"a","Test":"T3"}
{"Action":"output","Package":"a","Test":"T3","Output":"=== RUN T3\n"}
{"Action":"output","Package":"a","Test":"T3","Output":"    x_test.go:7: no root: really\n"}
{"Action":"skip","Package":"a","Test":"T3"}
{"Action":"fail","Package":"a"}
plain words
{"Action":"build-output","ImportPath":"b","Output":"undefined: x\n"}
{"Action":"output","Package":"b","Output":"FAIL b [build failed]\n"}
{"Action":"fail","Package":"b"}
{"Action":"pass","Package":"c","Elapsed":1.25}
{"Action":"run","Package":"d","Test":"T"}
{"Action":"run","Package":"d","Test":"T/in"}
{"Action":"pass","Package":"d","Test":"T/in"}
{"Action":"fail","Package":"d","Test":"T"}
{"Action":"fail","Package":"d"}
`
	var out bytes.Buffer
	c := &tally{out: &out, said: map[string][]string{}, inner: map[string]bool{}, broken: map[string]bool{}, failures: map[string]int{}, tests: map[string]int{}}
	if err := c.read(strings.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	if c.passed != 3 || c.failed != 3 || c.skipped != 1 {
		t.Errorf("%d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
	}
	for _, want := range []string{"loud", "skip  a T3: no root: really", "plain words", "FAIL b [build failed]", "FAIL  a", "FAIL  b", "ok    c (0 tests, 1.2 s)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "quiet") {
		t.Error("what a passed test said is shown")
	}
}
