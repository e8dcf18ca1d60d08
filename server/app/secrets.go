package app

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// hideSecrets takes out of a request what the hub knows its sender by. On an
// origin of their own applications may have secrets of the same form: only
// those that are the hub's are taken out.
func (y *Way) hideSecrets(h http.Header) {
	if a := h.Get("Authorization"); a != "" {
		_, secret, _ := strings.Cut(a, " ")
		if len(h.Values("Authorization")) > 1 || y.ours(strings.TrimSpace(secret)) {
			h.Del("Authorization")
		}
	}
	h.Del("X-Xsrftoken")
	var kept []string
	for _, line := range h.Values("Cookie") {
		for c := range strings.SplitSeq(line, ";") {
			c = strings.TrimSpace(c)
			name, _, _ := strings.Cut(c, "=")
			if c != "" && !slices.Contains(y.Cookies, strings.TrimSpace(name)) {
				kept = append(kept, c)
			}
		}
	}
	h.Del("Cookie")
	if len(kept) > 0 {
		h.Set("Cookie", strings.Join(kept, "; "))
	}
	if from, err := url.Parse(h.Get("Referer")); err == nil && from.RawQuery != "" {
		from.RawQuery = y.query(from.RawQuery)
		h.Set("Referer", from.String())
	}
}

// ours reports whether a secret is to be kept from the application.
func (y *Way) ours(secret string) bool { return y.Sandbox || y.Secret(secret) }

// query is raw without the hub's token; all else stays as it came.
func (y *Way) query(raw string) string {
	if !strings.Contains(raw, "=") {
		return raw
	}
	parts := strings.Split(raw, "&")
	parts = slices.DeleteFunc(parts, func(part string) bool {
		name, value, _ := strings.Cut(part, "=")
		if n, err := url.QueryUnescape(name); err != nil || n != "token" {
			return false
		}
		v, err := url.QueryUnescape(value)
		return err != nil || y.ours(v)
	})
	return strings.Join(parts, "&")
}

// cookie is a Set-Cookie of the application, kept below the prefix; false if it
// must not be set.
func (y *Way) cookie(line string) (string, bool) {
	parts := strings.Split(line, ";")
	name, value, found := strings.Cut(parts[0], "=")
	name = strings.TrimSpace(name)
	// A cookie without a name is sent as its value alone, which may read NAME=VALUE.
	if !found || name == "" || slices.Contains(y.Cookies, name) {
		return "", false
	}
	out := []string{name + "=" + strings.TrimSpace(value)}
	path := ""
	for _, p := range parts[1:] {
		p = strings.TrimSpace(p)
		key, v, _ := strings.Cut(p, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "domain", "": // the host's alone
		case "path":
			path = strings.TrimSpace(v)
		default:
			out = append(out, p)
		}
	}
	switch {
	case !strings.HasPrefix(path, "/"): // none: the browser takes the request's, which is below the prefix
	case y.below(path):
		out = append(out, "Path="+path)
	case y.Absolute:
		out = append(out, "Path="+y.Prefix+"/")
	default:
		out = append(out, "Path="+y.Prefix+path)
	}
	return strings.Join(out, "; "), true
}
