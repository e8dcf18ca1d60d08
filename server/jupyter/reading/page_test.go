package reading

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"cellar/internal/fault"
)

func pageOf(t testing.TB, nb any) string {
	t.Helper()
	b, err := json.Marshal(nb)
	if err != nil {
		t.Fatal(err)
	}
	out, err := Page(t.Context(), b, "n.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

type m = map[string]any

func of(cells ...any) m {
	return m{"nbformat": 4, "nbformat_minor": 5, "metadata": m{"language_info": m{"name": "python"}}, "cells": cells}
}

func code(source string, outputs ...any) m {
	return m{"cell_type": "code", "source": source, "execution_count": 3, "outputs": append([]any{}, outputs...)}
}

func shown(data m) m { return m{"output_type": "display_data", "data": data, "metadata": m{}} }

func TestPage(t *testing.T) {
	for name, c := range map[string]struct {
		cell any
		want []string
		not  []string
	}{
		"code":           {code("for i in range(3): pass"), []string{"[3]", `<span class="k">for</span>`}, nil},
		"lines":          {m{"cell_type": "code", "source": []string{"a\n", "b"}, "outputs": []any{}}, []string{"b"}, nil},
		"stream":         {code("", m{"output_type": "stream", "name": "stderr", "text": "a < b"}), []string{`class="out stream stderr"`, "a &lt; b"}, nil},
		"a bar":          {code("", m{"output_type": "stream", "name": "stdout", "text": "10%\r50%\r100%\ndone"}), []string{"100%\ndone"}, []string{"50%"}},
		"colours":        {code("", m{"output_type": "error", "ename": "E", "evalue": "v", "traceback": []string{"\x1b[0;31mE\x1b[0m: v\x1b]0;title\x07"}}), []string{`<span class="f1">E</span>`}, []string{"\x1b", "\x07"}},
		"no traceback":   {code("", m{"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": []string{}}), []string{"KeyError: &#39;x&#39;"}, nil},
		"a table":        {code("", shown(m{"text/html": `<style scoped>.x{}</style><table border="1" class="dataframe"><tr><td>1</td></tr></table>`, "text/plain": "1"})), []string{`<table class="dataframe">`, "<td>1</td>"}, []string{".x{}"}},
		"a picture":      {code("", shown(m{"image/png": "iVBO\nRw0=", "text/plain": `<Figure "x">`})), []string{`src="data:image/png;base64,iVBORw0="`, `alt="&lt;Figure &#34;x&#34;&gt;"`}, nil},
		"an SVG":         {code("", shown(m{"image/svg+xml": `<svg onload="x()"></svg>`})), []string{`src="data:image/svg+xml;base64,`}, []string{"onload"}},
		"no base64":      {code("", shown(m{"image/png": `x" onerror="y`, "text/plain": "plain"})), []string{"plain"}, []string{"onerror"}},
		"a plot":         {code("", shown(m{"text/html": "<div id=a></div><script>plot()</script>", "application/vnd.plotly.v1+json": m{}, "text/plain": "Figure()"})), []string{"Figure()", "needs scripts"}, []string{"plot()"}},
		"scripts alone":  {code("", shown(m{"application/javascript": "alert(1)"})), []string{"Open a copy"}, []string{"alert"}},
		"markdown":       {m{"cell_type": "markdown", "source": "# One two\n\n[there](#One-two) <b onclick='x()'>b</b> [out](https://example.org)"}, []string{`id="One-two"`, `href="#One-two"`, "<b>b</b>", `rel="nofollow noreferrer noopener" target="_blank"`}, []string{"onclick"}},
		"a formula":      {m{"cell_type": "markdown", "source": "$a_1 + b_1 * c_1 * d$, for 5$ and 6$"}, []string{`<code class="math">a_1 + b_1 * c_1 * d</code>`, "5$ and 6$"}, []string{"<em>"}},
		"formulas":       {m{"cell_type": "markdown", "source": "so\n$$\na_1 *b* c_1\n$$\nand\n\\begin{align}\nx_1 &= *y*\n\\end{align}"}, []string{"a_1 *b* c_1", "x_1 &amp;= *y*"}, []string{"<em>"}},
		"an attachment":  {m{"cell_type": "markdown", "source": "![p](attachment:a.png) ![q](attachment:none)", "attachments": m{"a.png": m{"image/png": "aGk="}}}, []string{`src="data:image/png;base64,aGk="`}, []string{"attachment:"}},
		"a bad link":     {m{"cell_type": "markdown", "source": "[x](javascript:alert(1)) <a href='javascript:alert(2)'>y</a> <form action=/signout><input></form> <iframe src=/></iframe><style>*{}</style><base href=//evil><meta http-equiv=refresh content=0>"}, []string{"x"}, []string{"javascript:", "<form", "<iframe", "*{}", "<base", "http-equiv"}},
		"from elsewhere": {m{"cell_type": "markdown", "source": "![told](https://example.org/p.png) <img src=files/x.png alt=here>"}, []string{`alt="told"`, `alt="here"`}, []string{"example.org", "x.png"}},
		"links here":     {m{"cell_type": "markdown", "source": "[a](other.ipynb) [b](/signout) [c](//evil.example) [d](#top) [e](https://example.org/) <a href='../p'>f</a> <a href=' /x'>g</a> <a href='HTTPS://example.com'>h</a>"}, []string{`href="#top"`, `href="https://example.org/"`, `href="https://example.com"`}, []string{"other.ipynb", "signout", "evil.example", "../p", "/x"}},
		"raw":            {m{"cell_type": "raw", "source": "<b>"}, []string{"&lt;b&gt;"}, nil},
		"numbers":        {code("", m{"output_type": "execute_result", "execution_count": nil, "data": m{"application/json": m{"a": 1}}, "metadata": m{}}), []string{"{&#34;a&#34;:1}"}, nil},
		"too long":       {code("", m{"output_type": "stream", "name": "stdout", "text": strings.Repeat("0123456789\n", 1<<18)}), []string{"KiB more are not shown here"}, nil},
	} {
		got := pageOf(t, of(c.cell))
		_, body, _ := strings.Cut(got, "<main>")
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in %.600s", name, want, body)
			}
		}
		for _, not := range c.not {
			if strings.Contains(body, not) {
				t.Errorf("%s: %q in %.600s", name, not, body)
			}
		}
		harmless(t, got)
	}
}

func TestNoNotebook(t *testing.T) {
	for _, in := range []string{"", "[]", "x", `{"nbformat":3,"worksheets":[]}`, `{"cells":[]}`} {
		if _, err := Page(t.Context(), []byte(in), "n"); fault.ClassOf(err) != fault.Unsupported {
			t.Errorf("%q: %v", in, err)
		}
	}
	if got := pageOf(t, of()); !strings.Contains(got, "The notebook is empty.") {
		t.Error(got)
	}
	// A field that is wrong hides nothing else.
	got := pageOf(t, m{"nbformat": 4, "metadata": 7, "cells": []any{m{"cell_type": "code", "source": "first", "execution_count": "x"}, code("second")}})
	if !strings.Contains(got, "second") {
		t.Error(got)
	}
}

// TestManySmallThings: what is small in a file and large in memory is cut.
func TestManySmallThings(t *testing.T) {
	many := "[" + strings.Repeat("{},", 4<<20) + "{}]"
	forms := "{" + strings.Repeat(`"a":1,`, 1<<20) + `"b":2}`
	for name, in := range map[string]string{
		"cells":       `{"nbformat":4,"cells":` + many + `}`,
		"outputs":     `{"nbformat":4,"cells":[{"cell_type":"code","source":"","outputs":` + many + `}]}`,
		"lines":       `{"nbformat":4,"cells":[{"cell_type":"code","source":[` + strings.Repeat(`"",`, 4<<20) + `""],"outputs":[]}]}`,
		"numbers":     `{"nbformat":4,"cells":[{"cell_type":"code","source":"","outputs":[{"output_type":"display_data","data":{"application/json":[` + strings.Repeat("1,", 4<<20) + `1]}}]}]}`,
		"forms":       `{"nbformat":4,"cells":[{"cell_type":"code","source":"","outputs":[{"output_type":"display_data","data":` + forms + `}]}]}`,
		"attachments": `{"nbformat":4,"cells":[{"cell_type":"markdown","source":"","attachments":` + forms + `}]}`,
		"tracebacks":  `{"nbformat":4,"cells":[{"cell_type":"code","source":"","outputs":[{"output_type":"error","traceback":` + many + `}]}]}`,
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		page, err := Page(t.Context(), []byte(in), "n")
		runtime.ReadMemStats(&after)
		if err != nil || len(page) > 4<<20 {
			t.Errorf("%s: %d bytes, %v", name, len(page), err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 48*uint64(len(in)) {
			t.Errorf("%s: %d MiB were taken, one after the other, for %d", name, took>>20, len(in)>>20)
		}
	}
}

// harmless fails for a page in which anything could act, or load something.
func harmless(t testing.TB, page string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	forbidden := map[string]bool{"script": true, "iframe": true, "object": true, "embed": true, "form": true, "input": true, "button": true, "textarea": true, "select": true, "base": true, "link": true, "svg": true, "math": true, "frame": true, "frameset": true, "template": true, "noscript": true, "video": true, "audio": true}
	styles, metas := 0, 0
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch {
		case forbidden[n.Data]:
			t.Fatalf("<%s> in a page", n.Data)
		case n.Data == "style":
			styles++
		case n.Data == "meta":
			metas++
		}
		for _, a := range n.Attr {
			value := strings.ToLower(strings.TrimSpace(a.Val))
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcset", a.Key == "srcdoc", a.Key == "formaction", a.Key == "http-equiv":
				t.Fatalf("%s=%q in a page", a.Key, a.Val)
			case a.Key == "src" && n.Data != "img":
				t.Fatalf("<%s src>", n.Data)
			case (a.Key == "href" || a.Key == "src") && (strings.HasPrefix(value, "javascript:") || strings.HasPrefix(value, "vbscript:") || strings.HasPrefix(value, "data:text")):
				t.Fatalf("%s=%q in a page", a.Key, a.Val)
			}
		}
	}
	if styles != 1 || metas != 5 {
		t.Fatalf("%d styles and %d metas", styles, metas)
	}
}

func FuzzPage(f *testing.F) {
	for _, seed := range []any{
		of(code("x = 1", shown(m{"text/html": "<b onclick=x>a<script>b</script>", "text/plain": "x"}))),
		of(m{"cell_type": "markdown", "source": "# a\n$x$ ![a](attachment:b) <img src=x onerror=y> [l](javascript:x)\n$$\nx\n$$"}),
		of(code("", m{"output_type": "stream", "name": "stdout", "text": "\x1b[38;5;1mred\x1b[0m\r\nx\ry"})),
		of(code("", shown(m{"image/svg+xml": "<svg/>", "image/png": "AA=="}))),
	} {
		b, _ := json.Marshal(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		page, err := Page(t.Context(), b, string(b))
		if err == nil {
			harmless(t, string(page))
		}
	})
}

// BenchmarkPage is a notebook of two hundred cells with their outputs.
func BenchmarkPage(b *testing.B) {
	cells := []any{}
	for range 100 {
		cells = append(cells,
			m{"cell_type": "markdown", "source": "## What is done\n\nSome *words* on $x_1$, and a list:\n\n- one\n- two\n"},
			code(strings.Repeat("frame = pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})  # a line of code\n", 12),
				shown(m{"text/html": "<table class=\"dataframe\">" + strings.Repeat("<tr><td>1</td><td>x</td></tr>", 60) + "</table>"}),
				shown(m{"image/png": strings.Repeat("iVBORw0K", 4000)})))
	}
	nb, err := json.Marshal(of(cells...))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(nb)))
	for b.Loop() {
		if _, err := Page(b.Context(), nb, "n"); err != nil {
			b.Fatal(err)
		}
	}
}
