package reading

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"strings"
	"time"
)

//go:embed page.css
var style string

// Policy is the Content-Security-Policy of a page: an origin of its own, no
// scripts, no forms, nothing loaded but pictures that are in it. Links open
// beside it.
var Policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; " + Sandbox
}()

// Sandbox is the part of Policy that a frame's attribute repeats.
const Sandbox = "sandbox allow-popups allow-popups-to-escape-sandbox"

// How long sources are coloured and Markdown is laid out, for all of a page. There
// are texts that take very long; what comes after them is shown as it is.
const (
	colouring = 2 * time.Second
	layingOut = 3 * time.Second
)

// page is one being written.
type page struct {
	b        bytes.Buffer
	language string
	until    time.Time     // sources are coloured before
	left     time.Duration // of layingOut
}

// Page makes a page of a notebook of format 4. It holds all that it shows.
func Page(ctx context.Context, nb []byte, title string) ([]byte, error) {
	n, err := parse(nb)
	if err != nil {
		return nil, err
	}
	p := &page{language: n.language(), until: time.Now().Add(colouring), left: layingOut}
	fmt.Fprintf(&p.b, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"+
		"<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex, nofollow\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n", html.EscapeString(title), style)
	cells := n.Cells.items
	for i := range cells {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if n.Cells.more = n.Cells.more || p.b.Len() > maxPage; p.b.Len() > maxPage {
			break
		}
		p.cell(&cells[i])
	}
	if n.Cells.more {
		p.note("More cells are not shown: the notebook is too large for this page.")
	}
	if len(cells) == 0 {
		p.note("The notebook is empty.")
	}
	p.b.WriteString("</main>\n</body>\n</html>\n")
	return p.b.Bytes(), nil
}

func (p *page) note(text string) {
	fmt.Fprintf(&p.b, "<p class=\"note\">%s</p>\n", html.EscapeString(text))
}

func (p *page) cell(c *cell) {
	switch c.Kind {
	case "markdown":
		p.b.WriteString("<section class=\"cell text\">\n")
		p.markdown(cut(string(c.Source)), c.Attachments)
		p.b.WriteString("</section>\n")
	case "code":
		p.code(c)
	default: // raw, and what there may be one day
		fmt.Fprintf(&p.b, "<section class=\"cell raw\"><pre tabindex=\"0\">%s</pre></section>\n", html.EscapeString(cut(string(c.Source))))
	}
}

func (p *page) code(c *cell) {
	p.b.WriteString("<section class=\"cell code\">\n")
	count := " "
	if c.Count != "" {
		count = string(c.Count[:min(len(c.Count), 12)])
	}
	fmt.Fprintf(&p.b, "<div class=\"in\"><span class=\"count\" aria-hidden=\"true\">[%s]</span><pre tabindex=\"0\">", html.EscapeString(count))
	p.source(cut(string(c.Source)))
	p.b.WriteString("</pre></div>\n")
	for i := range c.Outputs.items {
		if c.Outputs.more = c.Outputs.more || p.b.Len() > maxPage; p.b.Len() > maxPage {
			break
		}
		p.output(&c.Outputs.items[i])
	}
	if c.Outputs.more {
		p.note("More outputs are not shown: there are too many for this page.")
	}
	p.b.WriteString("</section>\n")
}

// cut bounds a text.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	at := maxText
	if i := strings.LastIndexByte(s[:at], '\n'); i > at/2 {
		at = i
	}
	return strings.ToValidUTF8(s[:at], "") + fmt.Sprintf("\n… %d KiB more are not shown here.", (len(s)-at)>>10)
}
