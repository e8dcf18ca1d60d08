package reading

import (
	"html"
	"strconv"
	"strings"
)

// terminal writes text as a terminal would show it: colours, and lines that are
// written over. All other commands to a terminal are left out.
func (p *page) terminal(class, s string) {
	s = cut(overwritten(s))
	p.b.WriteString("<pre class=\"" + class + "\" tabindex=\"0\">")
	var look look
	for s != "" {
		i := strings.IndexByte(s, 0x1b)
		if i < 0 {
			i = len(s)
		}
		if i > 0 {
			p.span(look.classes(), s[:i])
			s = s[i:]
			continue
		}
		var command byte
		var arguments string
		command, arguments, s = escape(s)
		if command == 'm' {
			look.take(arguments)
		}
	}
	p.b.WriteString("</pre>\n")
}

func (p *page) span(classes, s string) {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
	if classes == "" {
		p.b.WriteString(html.EscapeString(s))
		return
	}
	p.b.WriteString("<span class=\"" + classes + "\">" + html.EscapeString(s) + "</span>")
}

// escape takes a command to a terminal off the beginning of s, which is ESC.
func escape(s string) (command byte, arguments, rest string) {
	if len(s) < 2 || s[1] != '[' {
		return 0, "", s[1:]
	}
	i := 2
	for i < len(s) && (s[i] >= '0' && s[i] <= '?') {
		i++
	}
	if i == len(s) {
		return 0, "", ""
	}
	return s[i], s[2:i], s[i+1:]
}

// overwritten leaves of each line what stands there when it ends: progress bars
// write a line again and again.
func overwritten(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		if at := strings.LastIndexByte(line, '\r'); at >= 0 {
			line = line[at+1:]
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// look is how a terminal shows what follows.
type look struct {
	bold, italic, underline bool
	front, back             int // 0: as it is; 1 to 16 else
}

// take changes the look by the arguments of a command m.
func (l *look) take(arguments string) {
	list := strings.Split(arguments, ";")
	for i := 0; i < len(list); i++ {
		n, _ := strconv.Atoi(list[i]) // nothing is 0
		switch {
		case n == 0:
			*l = look{}
		case n == 1:
			l.bold = true
		case n == 3:
			l.italic = true
		case n == 4:
			l.underline = true
		case n == 22:
			l.bold = false
		case n == 23:
			l.italic = false
		case n == 24:
			l.underline = false
		case n >= 30 && n <= 37:
			l.front = n - 29
		case n >= 90 && n <= 97:
			l.front = n - 81
		case n == 39:
			l.front = 0
		case n >= 40 && n <= 47:
			l.back = n - 39
		case n >= 100 && n <= 107:
			l.back = n - 91
		case n == 49:
			l.back = 0
		case n == 38 || n == 48: // of 256, or by parts: the nearest of 16 would often be wrong
			skip := 4
			if i+1 < len(list) && list[i+1] == "5" {
				skip = 2
				if colour := colourOf(list, i+2); n == 38 {
					l.front = colour
				} else {
					l.back = colour
				}
			}
			i += skip
		}
	}
}

// colourOf is a colour of 256 where it is one of the first 16, else 0.
func colourOf(list []string, at int) int {
	if at >= len(list) {
		return 0
	}
	if n, err := strconv.Atoi(list[at]); err == nil && n >= 0 && n < 16 {
		return n + 1
	}
	return 0
}

func (l look) classes() string {
	var out []string
	for name, on := range map[string]bool{"b": l.bold, "i": l.italic, "u": l.underline} {
		if on {
			out = append(out, name)
		}
	}
	if l.front > 0 {
		out = append(out, "f"+strconv.Itoa(l.front-1))
	}
	if l.back > 0 {
		out = append(out, "k"+strconv.Itoa(l.back-1))
	}
	return strings.Join(out, " ")
}
