package contents

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"cellar/internal/fault"
)

// The disk's form is nbformat's, except that a number keeps the digits it came with.
func TestDiskForm(t *testing.T) {
	const head = `"metadata":{},"nbformat":4,"nbformat_minor":4`
	rows := []struct{ name, memory, disk string }{
		{"empty", `{"cells":[],` + head + `}`,
			"{\n \"cells\": [],\n \"metadata\": {},\n \"nbformat\": 4,\n \"nbformat_minor\": 4\n}\n"},
		{"lines, numbers, escapes", `{"cells":[{"cell_type":"code","source":"a\nb\r\nc\u2028d","metadata":{"z":1.50,"a":12345678901234567890,"trusted":true},"execution_count":null,"outputs":[{"output_type":"stream","name":"stdout","text":"x\u001b[0m\n"},{"output_type":"display_data","metadata":{},"data":{"text/plain":"p\nq","application/json":["a","b"],"image/png":"iVBO\nRw0="}}]}],` + head + `}`,
			`{
 "cells": [
  {
   "cell_type": "code",
   "execution_count": null,
   "metadata": {
    "a": 12345678901234567890,
    "z": 1.50
   },
   "outputs": [
    {
     "name": "stdout",
     "output_type": "stream",
     "text": [
      "x\u001b[0m\n"
     ]
    },
    {
     "data": {
      "application/json": [
       "a",
       "b"
      ],
      "image/png": "iVBO\nRw0=",
      "text/plain": [
       "p\n",
       "q"
      ]
     },
     "metadata": {},
     "output_type": "display_data"
    }
   ],
   "source": [
    "a\n",
    "b\r\n",
    "c` + "\u2028" + `",
    "d"
   ]
  }
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 4
}
`},
		{"transient", `{"cells":[{"cell_type":"markdown","metadata":{"trusted":false},"source":"","attachments":{"i.svg":{"image/svg+xml":"<a>\n</a>"}}}],"metadata":{"signature":"s","orig_nbformat":2,"k":"\u00e9\/"},"nbformat":4,"nbformat_minor":4}`,
			`{
 "cells": [
  {
   "attachments": {
    "i.svg": {
     "image/svg+xml": [
      "<a>\n",
      "</a>"
     ]
    }
   },
   "cell_type": "markdown",
   "metadata": {},
   "source": []
  }
 ],
 "metadata": {
  "k": "é/"
 },
 "nbformat": 4,
 "nbformat_minor": 4
}
`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			nb, err := parseNotebook([]byte(row.memory))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(diskForm(&nb)); got != row.disk {
				t.Errorf("got\n%s\nwant\n%s", got, row.disk)
			}
		})
	}
}

func TestMemoryForm(t *testing.T) {
	nb, err := parseNotebook([]byte(`{"nbformat":4,"nbformat_minor":5,"cells":[
	 {"cell_type":"code","source":["a\n","b"],"outputs":[{"output_type":"execute_result","data":{"text/html":["<p>","x"],"application/x+json":["k"]}},{"output_type":"stream","text":["1","2"]}]},
	 {"cell_type":"raw","id":"same","source":"r"},{"cell_type":"markdown","id":"same","source":"m"}],
	 "metadata":{"nan":NaN,"inf":-Infinity,"half":"\ud83d","dup":1,"dup":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := mark(&nb, nil, nil); err != nil {
		t.Fatal(err)
	}
	got := string(nb.appendCompact(nil))
	for _, part := range []string{
		`"source":"a\nb"`, `"text/html":"<p>x"`, `"application/x+json":["k"]`, `"text":"12"`, `"execution_count":null`,
		`"metadata":{"trusted":true}`, `"nan":null,"inf":null`, `"half":"\ud83d"`, `"dup":2`,
	} {
		if !strings.Contains(got, part) {
			t.Errorf("no %s in %s", part, got)
		}
	}
	ids := map[string]bool{}
	for _, c := range nb.get("cells").kids {
		ids[c.get("id").str()] = true
	}
	if len(ids) != 3 || ids[""] {
		t.Errorf("IDs %v", ids)
	}
	again, _ := parseNotebook([]byte(got))
	if string(again.appendCompact(nil)) != got {
		t.Error("the form in memory is not stable")
	}
}

func TestRefused(t *testing.T) {
	rows := []struct {
		in   string
		want fault.Class
	}{
		{`{`, fault.Invalid}, {``, fault.Invalid}, {`[]`, fault.Invalid}, {`null`, fault.Invalid}, {`{"cells":[]}`, fault.Invalid},
		{`{"nbformat":4,"cells":[1]}`, fault.Invalid}, {`{"nbformat":"4"}`, fault.Invalid}, {`{"nbformat":4.5}`, fault.Invalid},
		{`{"nbformat":2}`, fault.Unsupported}, {`{"nbformat":5}`, fault.Unsupported},
		{"{\"nbformat\":4,\"a\":\"\xff\"}", fault.Invalid}, {strings.Repeat("[", 1000), fault.Invalid},
		{`{"nbformat":4}x`, fault.Invalid}, {"{\"a\":\"\n\"}", fault.Invalid}, {`{"a":01}`, fault.Invalid},
		{`{"a":1.}`, fault.Invalid}, {`{"a":"\x"}`, fault.Invalid}, {`{"a":"\u12g4"}`, fault.Invalid}, {`{"a" 1}`, fault.Invalid},
		{`{"a":1,}`, fault.Invalid}, {`{"a":-}`, fault.Invalid}, {`{"a":"\`, fault.Invalid}, {`{"a":tru}`, fault.Invalid},
	}
	for _, row := range rows {
		if _, err := parseNotebook([]byte(row.in)); fault.ClassOf(err) != row.want {
			t.Errorf("%.40q: %v, want %s", row.in, err, row.want)
		}
	}
}

// Whatever the standard parser takes we take, with the same meaning; what we write is stable.
func FuzzNotebook(f *testing.F) {
	for _, s := range []string{
		NewNotebook, `{"nbformat":4,"cells":[{"cell_type":"code","source":["a\r","\nb\u2028"],"outputs":[{"output_type":"stream","text":"\ud83d\ude00\/"}]}]}`,
		`{"nbformat":4,"cells":[{"cell_type":"raw","source":[ "a\\\"b\\\\" ,"","c\\\\\\n" ],"metadata":{"tags":["x","y"]}}]}`, `["a","\u0041",1]`, `["a" 1]`, `["`,
		`{"a":[1e5,-0.0,true,null,{"b":"\u001f\u0085"}],"a":2}`, "\"\u2029\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		v, err := parse(in)
		if err != nil {
			if fault.CodeOf(err) == "not_json" && json.Valid(in) {
				t.Fatalf("%q is JSON: %v", in, err)
			}
			return
		}
		compact := v.appendCompact(nil)
		var want, got any
		if json.Unmarshal(in, &want) == nil {
			if err := json.Unmarshal(compact, &got); err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q became %q: %v", in, compact, err)
			}
		}
		nb, err := parseNotebook(in)
		if err != nil {
			return
		}
		memory := nb.appendCompact(nil)
		disk := diskForm(&nb)
		back, err := parseNotebook(disk)
		if err != nil {
			t.Fatalf("what we wrote cannot be read: %q: %v", disk, err)
		}
		again := diskForm(&back)
		third, err := parseNotebook(again)
		if err != nil || !bytes.Equal(diskForm(&third), again) {
			t.Fatalf("not stable: %q of %q: %v", again, memory, err)
		}
	})
}

func FuzzPlace(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "a//./b/", ".h/x", "a\\..\\b", "\x00", "/..", "a/..b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		place, err := (&Tree{hidden: true}).place(p)
		if err != nil {
			return
		}
		for part := range strings.SplitSeq(place, "/") {
			if part == ".." || part == "." || part == "" && place != "" || strings.ContainsRune(part, 0) {
				t.Fatalf("%q became %q", p, place)
			}
		}
	})
}

func bigNotebook() []byte {
	var b bytes.Buffer
	b.WriteString(`{"cells":[`)
	for i := range 1000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"cell_type":"code","execution_count":1,"id":"c` + strings.Repeat("x", i%9) + string(rune('a'+i%26)) + `","metadata":{},"outputs":[{"data":{"image/png":"` +
			strings.Repeat("iVBORw0KGgo", 700) + `","text/plain":"` + strings.Repeat(`0.123 4.567\n`, 200) + `"},"metadata":{},"output_type":"display_data"}],"source":"` + strings.Repeat(`x = 1\n`, 20) + `"}`)
	}
	b.WriteString(`],"metadata":{},"nbformat":4,"nbformat_minor":5}`)
	return b.Bytes()
}

func BenchmarkSave10MB(b *testing.B) {
	in := bigNotebook()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		nb, err := parseNotebook(in)
		if err != nil {
			b.Fatal(err)
		}
		diskForm(&nb)
	}
}

func BenchmarkLoad10MB(b *testing.B) {
	nb, _ := parseNotebook(bigNotebook())
	in := diskForm(&nb)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		nb, err := parseNotebook(in)
		if err != nil {
			b.Fatal(err)
		}
		nb.appendCompact(make([]byte, 0, len(in)))
	}
}

// BenchmarkPutAndGet10MB is all of a request but the network.
func BenchmarkPutAndGet10MB(b *testing.B) {
	t, err := Open(b.TempDir(), Owner{os.Getuid(), os.Getgid()})
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close()
	body := fmt.Appendf(nil, `{"type":"notebook","format":"json","content":%s}`, bigNotebook())
	b.Run("put", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			in, _, err := parseIncoming(body)
			if err != nil {
				b.Fatal(err)
			}
			if _, _, err := t.save("big.ipynb", in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			m, err := t.Get("big.ipynb", Want{Content: true})
			if err != nil {
				b.Fatal(err)
			}
			if _, err = m.AppendJSON(nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
