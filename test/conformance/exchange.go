package main

import (
	"bufio"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Exchanges of HTTP requests and answers are data: files of checks, each a list of steps.
//
//	check contents.create            a check begins
//	only cellar: why                 the other side is not asked
//	POST api/contents/$DIR {"type":"notebook"}
//	  with Range: bytes=0-3          a header of the request
//	  anonymous                      without the token
//	  201|200 {"name":"Untitled.ipynb"}   statuses, and what the JSON must have (see differ)
//	  header Location */Untitled.ipynb    a header of the answer, with * and ?; "absent" when it must be missing
//	  body hello                     the bytes of the answer, as a JSON string where it begins with "
//	  save id .kernel.id             keeps a member as $id
//
// $DIR is a folder that the check has for itself.
//
//go:embed exchanges
var exchangeFiles embed.FS

type step struct {
	line         int
	method, path string
	body         string
	header       http.Header
	anonymous    bool
	statuses     []int
	wanted       string
	rules        [][]string // kind, name, value
}

func readExchanges() (all []*check, err error) {
	names, err := fs.Glob(exchangeFiles, "exchanges/*.txt")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		text, err := exchangeFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		list, err := parseExchanges(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func parseExchanges(text string) (list []*check, err error) {
	var steps *[]*step
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case word == "check":
			own := &[]*step{} // grows with the lines that follow
			steps = own
			list = append(list, &check{name: rest, run: func(t *try) { t.play(*own) }})
		case steps == nil:
			return nil, fmt.Errorf("line %d: no check has begun", n)
		case word == "only":
			c := list[len(list)-1]
			c.only, c.why, _ = strings.Cut(rest, ": ")
		case slices.Contains(methods, word):
			path, body, _ := strings.Cut(rest, " ")
			*steps = append(*steps, &step{line: n, method: word, path: path, body: body, header: http.Header{}})
		case len(*steps) == 0:
			return nil, fmt.Errorf("line %d: no request yet", n)
		default:
			if err := (*steps)[len(*steps)-1].parse(word, rest); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	return list, sc.Err()
}

// parse takes a line that says more about a request.
func (s *step) parse(word, rest string) error {
	switch word {
	case "with":
		name, value, _ := strings.Cut(rest, ": ")
		s.header.Set(name, value)
		return nil
	case "anonymous":
		s.anonymous = true
		return nil
	case "header", "save":
		name, value, _ := strings.Cut(rest, " ")
		s.rules = append(s.rules, []string{word, name, strings.TrimSpace(value)})
		return nil
	case "body", "has":
		s.rules = append(s.rules, []string{word, "", rest})
		return nil
	}
	for one := range strings.SplitSeq(word, "|") {
		n, err := strconv.Atoi(one)
		if err != nil {
			return fmt.Errorf("what is %q", word)
		}
		s.statuses = append(s.statuses, n)
	}
	s.wanted = rest
	if rest != "" && !json.Valid([]byte(names.ReplaceAllString(rest, "x"))) {
		return fmt.Errorf("not JSON: %s", rest)
	}
	return nil
}

// names are $NAME in an exchange.
var names = regexp.MustCompile(`\$[A-Za-z]+`)

func (t *try) fill(text string) string {
	return names.ReplaceAllStringFunc(text, func(name string) string {
		if v, ok := t.vars[name[1:]]; ok {
			return v
		}
		return name
	})
}

// play does the steps of an exchange.
func (t *try) play(steps []*step) {
	t.vars["BASE"] = strings.TrimRight(mustPath(t.base), "/")
	for _, s := range steps {
		t.playStep(s)
	}
}

func mustPath(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Path
}

func (t *try) playStep(s *step) {
	r := request{method: s.method, path: t.fill(s.path), header: http.Header{}, noToken: s.anonymous}
	for name, values := range s.header {
		r.header.Set(name, t.fill(values[0]))
	}
	if s.body != "" {
		r.body = t.fill(s.body)
	}
	a := t.ask(r)
	if !slices.Contains(s.statuses, a.status) {
		t.failf("%s is %d, want %s: %s", a.asked, a.status, either(s.statuses), short(a.body))
	}
	if s.wanted != "" {
		var want any
		t.must(json.Unmarshal([]byte(t.fill(s.wanted)), &want))
		if d := differ("answer", a.value(), want); d != "" {
			t.failf("%s: %s", a.asked, d)
		}
	}
	for _, rule := range s.rules {
		t.judge(a, rule[0], rule[1], t.fill(rule[2]))
	}
}

func either(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, " or ")
}

func (t *try) judge(a *answer, kind, name, value string) {
	switch kind {
	case "save":
		t.vars[name] = a.at(strings.Split(strings.TrimPrefix(value, "."), ".")...)
		if t.vars[name] == "" {
			t.failf("%s: there is no %s in %s", a.asked, value, short(a.body))
		}
	case "header":
		got := a.header.Get(name)
		if value == "absent" && got == "" || value != "absent" && glob(value, got) {
			return
		}
		t.failf("%s: %s is %q, want %s", a.asked, name, got, value)
	case "body", "has":
		want := value
		if strings.HasPrefix(value, `"`) {
			t.must(json.Unmarshal([]byte(value), &want))
		}
		if kind == "body" && string(a.body) != want || !strings.Contains(string(a.body), want) {
			t.failf("%s: the body is %s, want %s%q", a.asked, short(a.body), map[string]string{"has": "some "}[kind], want)
		}
	}
}
