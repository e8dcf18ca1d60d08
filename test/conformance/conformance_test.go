package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestDiffer(t *testing.T) {
	rows := []struct{ got, want, says string }{
		{`{"a":1,"b":2}`, `{"a":1}`, ""},
		{`{"a":1}`, `{"b":1}`, "answer.b is missing"},
		{`{"a":1}`, `{"a":"<absent>"}`, "answer.a is there"},
		{`{"a":null}`, `{"a":null}`, ""},
		{`{"a":null}`, `{"a":"<string>"}`, "answer.a is null"},
		{`[1,2]`, `[1]`, "answer is"},
		{`[{"a":"x/y.txt"}]`, `[{"a":"*.txt"}]`, ""},
		{`{"a":"2026-01-02T03:04:05.123456Z"}`, `{"a":"<time>"}`, ""},
		{`{"a":"yesterday"}`, `{"a":"<time>"}`, "answer.a"},
		{`"text"`, `{}`, "want an object"},
		{`{"a":true}`, `{"a":false}`, "answer.a is true"},
	}
	for _, row := range rows {
		var got, want any
		if err := json.Unmarshal([]byte(row.got), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(row.want), &want); err != nil {
			t.Fatal(err)
		}
		if says := differ("answer", got, want); row.says == "" && says != "" || !strings.Contains(says, row.says) {
			t.Errorf("%s against %s: %q, want %q", row.got, row.want, says, row.says)
		}
	}
}

// Every exchange file can be read, every exception is of a check that is there.
func TestData(t *testing.T) {
	t.Setenv(labSource, "")
	t.Setenv("GALATA", "")
	checks, err := allChecks()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, c := range checks {
		known[c.name] = true
		if (c.only != "") != (c.why != "") {
			t.Errorf("%s is asked of %q only, because %q", c.name, c.only, c.why)
		}
	}
	reasons, err := readExceptions()
	if err != nil {
		t.Fatal(err)
	}
	for key := range reasons {
		name, _, _ := strings.Cut(key.check, ": ")
		if !known[name] && !strings.HasPrefix(name, "services.") && !strings.HasPrefix(name, "galata.") {
			t.Errorf("an exception for %q, which is no check", key.check)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"GET api", "check a\n200", "check a\nGET api\nfoo bar", `check a` + "\nGET api\n200 {", "check a\nGET api\n2x0",
	} {
		if _, err := parseExchanges(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Only what fails on a side without an exception makes a run fail.
func TestReport(t *testing.T) {
	reasons := map[exception]string{{"known", jupyterSide}: "old", {"many: two", cellarSide}: "meant"}
	rows := []struct {
		name  string
		out   map[string]outcome
		cells string
		ok    bool
	}{
		{"good", map[string]outcome{jupyterSide: {asked: true}, cellarSide: {asked: true}}, "ok ok", true},
		{"known", map[string]outcome{jupyterSide: {asked: true, failed: "x"}, cellarSide: {asked: true}}, "differs ok", true},
		{"unknown", map[string]outcome{jupyterSide: {asked: true}, cellarSide: {asked: true, failed: "x"}}, "ok FAIL", false},
		{"many", map[string]outcome{cellarSide: {asked: true, parts: []subtest{{"two", "x"}}}}, "- differs", true},
		{"many", map[string]outcome{cellarSide: {asked: true, parts: []subtest{{"two", "x"}, {"three", "y"}}}}, "- FAIL", false},
		{"nothing", map[string]outcome{}, "- -", false},
	}
	for _, row := range rows {
		var b bytes.Buffer
		r := newReport(&b, reasons)
		r.line(&check{name: row.name}, row.out)
		line := strings.Fields(strings.Split(b.String(), "\n")[1])
		if got := strings.Join(line[1:], " "); got != row.cells {
			t.Errorf("%s: the cells are %q, want %q", row.name, got, row.cells)
		}
		if got := r.sum(); got != row.ok {
			t.Errorf("%s: the run is %v, want %v\n%s", row.name, got, row.ok, b.String())
		}
	}
}

// The versions that the tests of @jupyterlab/services get are those of the checkout.
func TestServicesManifest(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"services": `{"name":"@jupyterlab/services","version":"7.7.0","dependencies":{"ws":"^8","@jupyterlab/coreutils":"^6"},"devDependencies":{"rimraf":"1"}}`,
		"testing":  `{"name":"@jupyterlab/testing","version":"4.7.0","dependencies":{"jest":"^29"}}`,
	} {
		if err := os.MkdirAll(dir+"/packages/"+name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/packages/"+name+"/package.json", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := servicesManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Dependencies map[string]string }
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"@jupyterlab/services": "7.7.0", "@jupyterlab/testing": "4.7.0", "ws": "^8", "jest": "^29"}
	if len(m.Dependencies) != len(want) {
		t.Errorf("%v, want %v", m.Dependencies, want)
	}
	for name, version := range want {
		if m.Dependencies[name] != version {
			t.Errorf("%s is %q, want %q", name, m.Dependencies[name], version)
		}
	}
}
