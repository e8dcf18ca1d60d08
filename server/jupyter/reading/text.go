package reading

import (
	"bytes"
	"html"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/chroma/v2"
	formatter "github.com/alecthomas/chroma/v2/formatters/html"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/alecthomas/chroma/v2/styles"
	"github.com/microcosm-cc/bluemonday"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	renderer "github.com/yuin/goldmark/renderer/html"
	markdown "github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

// clean and bare may be used by all at once.
var (
	clean = cleaner()
	bare  = bluemonday.StrictPolicy()
)

// cleaner lets through of HTML what can do nothing: text, tables, lists, links
// and pictures. Scripts, styles, forms and frames are dropped.
func cleaner() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowStandardURLs()
	p.AllowURLSchemes("http", "https", "mailto")
	p.AllowRelativeURLs(true)
	p.AllowElements("h1", "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "div", "span", "section", "article", "aside", "details", "summary", "blockquote", "pre",
		"code", "kbd", "samp", "var", "tt", "b", "strong", "i", "em", "u", "s", "strike", "del", "ins", "small", "sub", "sup", "mark", "q", "cite", "dfn", "abbr", "time", "wbr", "figure", "figcaption", "center")
	// Within the page, or away from here: not elsewhere on this server.
	p.AllowAttrs("href").Matching(regexp.MustCompile(`^(?i:#|https?://|mailto:)`)).OnElements("a")
	p.AllowAttrs("title").Matching(bluemonday.Paragraph).Globally()
	p.AllowLists()
	p.AllowTables()
	p.AllowImages()
	p.AllowDataURIImages()
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	p.AddTargetBlankToFullyQualifiedLinks(true)
	p.RewriteSrc(func(u *url.URL) { // a picture from elsewhere would tell there who reads this
		if u.Scheme != "data" {
			*u = url.URL{}
		}
	})
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^dataframe$`)).OnElements("table")
	p.AllowAttrs("class").Matching(regexp.MustCompile(`^math$`)).OnElements("code")
	p.AllowAttrs("id").Matching(regexp.MustCompile(`^[^\s"'<>]{1,200}$`)).OnElements("h1", "h2", "h3", "h4", "h5", "h6", "a")
	return p
}

var hasSomething = regexp.MustCompile(`(?i)<(img|table|hr)\b`)

// cleaned cleans HTML; "" when nothing of it is left to be seen.
func cleaned(s string) string {
	s = strings.TrimSpace(clean.Sanitize(s))
	if hasSomething.MatchString(s) || strings.TrimSpace(bare.Sanitize(s)) != "" {
		return s
	}
	return ""
}

var flavour = goldmark.New(
	goldmark.WithExtensions(extension.GFM, formulas{}),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(renderer.WithUnsafe()), // it is cleaned afterwards, with all else
)

// markdown writes Markdown, with the pictures that the cell has attached.
func (p *page) markdown(s string, attached attachments) {
	if len(s) > maxLaid || p.left <= 0 {
		p.terminal("out plain", s)
		return
	}
	begun := time.Now()
	defer func() { p.left -= time.Since(begun) }()
	source := []byte(fencedFormulas(s))
	root := flavour.Parser().Parse(markdown.NewReader(source), parser.WithContext(parser.NewContext(parser.WithIDs(&anchors{}))))
	_ = ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if image, ok := n.(*ast.Image); ok && entering {
			if name, ok := bytes.CutPrefix(image.Destination, []byte("attachment:")); ok {
				image.Destination = attachment(attached[string(name)])
			}
		}
		return ast.WalkContinue, nil
	})
	var b bytes.Buffer
	if err := flavour.Renderer().Render(&b, source, root); err != nil {
		p.terminal("out plain", s)
		return
	}
	p.b.Write(clean.SanitizeBytes(b.Bytes()))
}

// fencedFormulas makes blocks of code of formulas that take several lines.
func fencedFormulas(s string) string {
	if !strings.Contains(s, "$$") && !strings.Contains(s, `\begin{`) {
		return s
	}
	var out []string
	fence, end := "", ""
	for line := range strings.SplitSeq(s, "\n") {
		bare := strings.TrimSpace(line)
		switch {
		case end != "":
			if out = append(out, line); strings.HasSuffix(bare, end) {
				out, end = append(out, "```", ""), ""
			}
			continue
		case fence != "":
			if strings.HasPrefix(bare, fence) {
				fence = ""
			}
		case strings.HasPrefix(bare, "```"), strings.HasPrefix(bare, "~~~"):
			fence = bare[:3]
		case strings.HasPrefix(bare, "$$") && !strings.Contains(bare[2:], "$$"):
			out, end = append(out, "", "```math"), "$$"
		case strings.HasPrefix(bare, `\begin{`) && !strings.Contains(bare, `\end{`):
			name, _, _ := strings.Cut(bare[len(`\begin{`):], "}")
			out, end = append(out, "", "```math"), `\end{`+name+"}"
		}
		out = append(out, line)
	}
	if end != "" {
		return s // it never ends: it was none
	}
	return strings.Join(out, "\n")
}

func attachment(b bundle) []byte {
	for _, kind := range pictures[1:] { // the cleaner lets no others through
		if address, ok := picture(kind, string(b[kind])); ok {
			return []byte(address)
		}
	}
	return nil
}

// anchors names headings as Jupyter does, so that links within a notebook work.
type anchors struct{}

func (*anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	return bytes.ReplaceAll(bytes.TrimSpace(value), []byte(" "), []byte("-"))
}

func (*anchors) Put([]byte) {}

// formulas keeps TeX as it was written: Markdown must not take its underscores
// for emphasis.
type formulas struct{}

// Extend implements goldmark.Extender.
func (formulas) Extend(m goldmark.Markdown) {
	m.Parser().AddOptions(parser.WithInlineParsers(util.Prioritized(formulas{}, 150)))
}

// Trigger implements parser.InlineParser.
func (formulas) Trigger() []byte { return []byte{'$'} }

// maxFormula bounds how far the end of a formula is looked for, in bytes.
const maxFormula = 4096

// Parse implements parser.InlineParser.
func (formulas) Parse(_ ast.Node, block markdown.Reader, _ parser.Context) ast.Node {
	line, at := block.PeekLine()
	mark := "$"
	if bytes.HasPrefix(line, []byte("$$")) {
		mark = "$$"
	}
	rest := line[len(mark):min(len(line), maxFormula)]
	if len(rest) == 0 || mark == "$" && (rest[0] == ' ' || rest[0] >= '0' && rest[0] <= '9' && !bytes.ContainsAny(rest, "\\^_=")) {
		return nil // a price
	}
	end := bytes.Index(rest, []byte(mark))
	if end <= 0 {
		return nil
	}
	n := ast.NewCodeSpan()
	n.SetAttributeString("class", []byte("math"))
	n.AppendChild(n, ast.NewRawTextSegment(markdown.NewSegment(at.Start+len(mark), at.Start+len(mark)+end)))
	block.Advance(2*len(mark) + end)
	return n
}

var colours = formatter.New(formatter.WithClasses(true), formatter.PreventSurroundingPre(true))

// source writes code, coloured where that does not take long.
func (p *page) source(s string) {
	lexer := lexers.Get(p.language)
	if lexer == nil || len(s) > maxColour || time.Now().After(p.until) {
		p.b.WriteString(html.EscapeString(s))
		return
	}
	tokens, err := chroma.Coalesce(lexer).Tokenise(nil, s)
	var b bytes.Buffer
	if err == nil {
		err = colours.Format(&b, styles.Fallback, tokens)
	}
	if err != nil {
		p.b.WriteString(html.EscapeString(s))
		return
	}
	p.b.WriteString(strings.TrimSuffix(b.String(), "\n"))
}
