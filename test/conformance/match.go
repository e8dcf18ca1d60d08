package main

import (
	"fmt"
	"path"
	"sort"
	"time"
)

// differ compares an answer with what is wanted, both decoded from JSON, and says
// where they part; "" when they do not. Objects may have more members than are
// wanted, lists may not. A wanted string may hold * and ?, or be one of these words:
//
//	<any> <string> <number> <bool> <object> <list> <time>
//	<absent>        the member is not there
func differ(where string, got, want any) string {
	switch w := want.(type) {
	case map[string]any:
		return differObject(where, got, w)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s is %s, want %s", where, show(got), show(want))
		}
		for i := range w {
			if d := differ(fmt.Sprintf("%s[%d]", where, i), g[i], w[i]); d != "" {
				return d
			}
		}
		return ""
	case string:
		if fits(got, w) {
			return ""
		}
	default:
		if got == want {
			return ""
		}
	}
	return fmt.Sprintf("%s is %s, want %s", where, show(got), show(want))
}

func differObject(where string, got any, want map[string]any) string {
	g, ok := got.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s is %s, want an object", where, show(got))
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value, there := g[name]
		if want[name] == "<absent>" {
			if there {
				return fmt.Sprintf("%s.%s is there: %s", where, name, show(value))
			}
			continue
		}
		if !there {
			return fmt.Sprintf("%s.%s is missing", where, name)
		}
		if d := differ(where+"."+name, value, want[name]); d != "" {
			return d
		}
	}
	return ""
}

func fits(got any, want string) (ok bool) {
	switch want {
	case "<any>":
		return true
	case "<string>":
		_, ok = got.(string)
		return ok
	case "<number>":
		_, ok = got.(float64)
		return ok
	case "<bool>":
		_, ok = got.(bool)
		return ok
	case "<object>":
		_, ok = got.(map[string]any)
		return ok
	case "<list>":
		_, ok = got.([]any)
		return ok
	case "<time>":
		s, _ := got.(string)
		_, err := time.Parse(time.RFC3339Nano, s)
		return err == nil
	}
	s, ok := got.(string)
	return ok && (s == want || glob(want, s))
}

// glob is path.Match for one line of text, in which a slash is a character like any other.
func glob(pattern, s string) bool {
	flat := func(s string) string {
		b := []byte(s)
		for i, c := range b {
			if c == '/' {
				b[i] = 1
			}
		}
		return string(b)
	}
	ok, err := path.Match(flat(pattern), flat(s))
	return ok && err == nil
}

func show(v any) string {
	s := fmt.Sprintf("%v", v)
	if v == nil {
		s = "null"
	}
	if t, ok := v.(string); ok {
		s = fmt.Sprintf("%q", t)
	}
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return s
}
