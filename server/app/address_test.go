package app

import (
	"strings"
	"testing"
)

// FuzzParse: what is made of an address is what was asked for, and a port.
func FuzzParse(f *testing.F) {
	for _, p := range []string{"/proxy/8000/", "/proxy/8000", "/proxy/absolute/8000/a%2Fb", "/proxy/08/", "/proxy/99999/", "/proxy//", "/proxy/absolute/", "/x", "/proxy/8000/../..", "/proxy/80%30/"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		a, err := Parse(path)
		if err != nil {
			return
		}
		if a.Port < 1 || a.Port > 65535 || a.Mount+a.Rest != path || a.Rest != "" && a.Rest[0] != '/' {
			t.Fatalf("%q is %+v", path, a)
		}
		if u := a.target("/projects/p" + a.Mount); !strings.HasPrefix(u.EscapedPath(), "/") || u.Host != "" || u.Scheme != "" {
			t.Fatalf("%q leads to %q", path, u)
		}
	})
}
