package reading

import (
	"encoding/base64"
	"fmt"
	"html"
	"strings"
)

// pictures are the forms that a page can hold as they are, and under which type:
// a picture in an img element runs no scripts and loads nothing.
var pictures = []string{"image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp"}

func (p *page) output(o *output) {
	switch o.Kind {
	case "stream":
		class := "out stream"
		if o.Stream == "stderr" {
			class += " stderr"
		}
		p.terminal(class, string(o.Text))
	case "error":
		lines := make([]string, 0, len(o.Traceback.items))
		for _, l := range o.Traceback.items {
			lines = append(lines, string(l))
		}
		if len(lines) == 0 {
			lines = append(lines, string(o.Error)+": "+string(o.Message))
		}
		p.terminal("out stream error", strings.Join(lines, "\n"))
	case "display_data", "execute_result":
		p.bundle(o.Data)
	}
}

// bundle shows the best form that needs no scripts.
func (p *page) bundle(data bundle) {
	if h, ok := data["text/html"]; ok {
		if shown := cleaned(cut(string(h))); shown != "" {
			fmt.Fprintf(&p.b, "<div class=\"out html\" tabindex=\"0\">%s</div>\n", shown)
			p.sayScripts(data)
			return
		}
	}
	if m, ok := data["text/markdown"]; ok {
		p.b.WriteString("<div class=\"out text\">")
		p.markdown(cut(string(m)), nil)
		p.b.WriteString("</div>\n")
		return
	}
	for _, kind := range pictures {
		if address, ok := picture(kind, string(data[kind])); ok {
			fmt.Fprintf(&p.b, "<div class=\"out picture\"><img src=\"%s\" alt=\"%s\"></div>\n", address, html.EscapeString(firstLine(string(data["text/plain"]), "Output")))
			return
		}
	}
	for _, kind := range []string{"text/latex", "text/plain", "application/json"} {
		if t, ok := data[kind]; ok {
			p.terminal("out plain", string(t))
			p.sayScripts(data)
			return
		}
	}
	p.note("An output needs scripts, which this page does not run. Open a copy to see it.")
}

// sayScripts tells that there is more to an output than is shown.
func (p *page) sayScripts(data bundle) {
	for kind := range data {
		if kind == "application/javascript" || strings.HasPrefix(kind, "application/vnd.") || kind == "text/html" && strings.Contains(strings.ToLower(string(data[kind])), "<script") {
			p.note("The interactive part of this output needs scripts, which this page does not run.")
			return
		}
	}
}

// picture gives the address of a picture that holds it.
func picture(kind, data string) (string, bool) {
	if data == "" {
		return "", false
	}
	if kind == "image/svg+xml" {
		return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(data)), true
	}
	data = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == ' ' {
			return -1
		}
		return r
	}, data)
	for i := range len(data) {
		c := data[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '/' && c != '=' {
			return "", false
		}
	}
	return "data:" + kind + ";base64," + data, true
}

// firstLine is what a screen reader says of a picture.
func firstLine(s, otherwise string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "")
	}
	if strings.TrimSpace(line) == "" {
		return otherwise
	}
	return line
}
