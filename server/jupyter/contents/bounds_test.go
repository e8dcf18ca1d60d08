package contents_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"cellar/server/jupyter/contents"
)

// allocated is how many bytes do takes in all, returned or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// bombs are documents that make much of little. Those of many values that a notebook may have are
// taken; the rest is refused.
func bombs() map[string]string {
	const n = 4 << 20
	fill := func(before, each, after string) string {
		return before + strings.Repeat(each+",", n/(len(each)+1)) + each + after
	}
	book := func(cells string) string {
		return `{"cells":` + cells + `,"metadata":{},"nbformat":4,"nbformat_minor":5}`
	}
	return map[string]string{
		"deep lists":         book(strings.Repeat("[", n) + strings.Repeat("]", n)),
		"deep objects":       book(strings.Repeat(`{"a":`, n/5) + "1" + strings.Repeat("}", n/5)),
		"deep, no end":       strings.Repeat("[", n),
		"many empty cells":   book(fill("[", "{}", "]")),
		"many code cells":    book(fill("[", `{"cell_type":"code"}`, "]")),
		"many numbers":       book(fill(`[{"cell_type":"code","metadata":{"x":[`, "0", `]}}]`)),
		"many empty strings": book(fill(`[{"cell_type":"code","source":[`, `""`, `]}]`)),
		"many members":       book(fill(`[{"cell_type":"code","metadata":{`, `"":0`, `}}]`)),
		"a long number":      book(`[` + strings.Repeat("9", n) + `]`),
	}
}

func TestBombs(t *testing.T) {
	for name, bomb := range bombs() {
		p := serve(t, nil)
		p.write("bomb.ipynb", bomb)
		body := `{"type":"notebook","format":"json","content":` + bomb + `}`
		for _, c := range []struct{ method, path, body string }{{"GET", "/api/contents/bomb.ipynb", ""}, {"PUT", "/api/contents/new.ipynb", body}} {
			r, err := http.NewRequest(c.method, p.url+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			var status int
			var answer string
			took := allocated(func() {
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(res.Body)
				res.Body.Close()
				status, answer = res.StatusCode, string(b[:min(len(b), 200)])
			})
			if large := strings.HasPrefix(name, "many") && !strings.HasSuffix(name, "cells"); (status != 400 && status != 413) != large {
				t.Errorf("%s, %s: %d %s", c.method, name, status, answer)
			}
			if !underRace && took > 400*uint64(strings.Count(bomb, ",")+1)+16*uint64(len(bomb)) { // bytes for a value
				t.Errorf("%s, %s: %d MB for one of %d MB", c.method, name, took>>20, len(bomb)>>20)
			}
		}
	}
}

// A notebook of many lines is no bomb.
func TestManyLinesAreNoBomb(t *testing.T) {
	p := serve(t, nil)
	lines := strings.Repeat(`"a line of some output\n",`, 300_000)
	text := `{"cells":[{"cell_type":"code","id":"a","source":[],"metadata":{},"execution_count":1,"outputs":[{"output_type":"stream","name":"stdout","text":[` + strings.TrimSuffix(lines, ",") + `]}]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`
	p.write("long.ipynb", text)
	p.want(200, "GET", "/api/contents/long.ipynb", "")
}

// What is too large is refused by what is said of it, not by taking it in.
func TestTooLargeIsRefusedUnread(t *testing.T) {
	p := serve(t, nil)
	for _, name := range []string{"big.ipynb", "big.txt"} {
		p.write(name, "")
		if err := os.Truncate(filepath.Join(p.dir, name), 300<<20); err != nil {
			t.Fatal(err)
		}
	}
	took := allocated(func() {
		p.want(413, "GET", "/api/contents/big.ipynb", "")
		p.want(413, "GET", "/api/contents/big.txt", "")
		p.want(200, "GET", "/api/contents/big.txt?content=0", "")
	})
	if took > 4<<20 {
		t.Errorf("refusing took %d MB", took>>20)
	}
	status := raw(t, p, "PUT /base/api/contents/x.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 314572800\r\n\r\n")
	if status != 413 {
		t.Errorf("a body of 300 MB that is only announced: %d", status)
	}
}

// raw sends bytes and closes its half of the line.
func raw(t *testing.T, p *place, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.Split(strings.TrimPrefix(p.url, "http://"), "/")[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).CloseWrite()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// A body that does not arrive whole changes nothing, said length or not.
func TestCutBodies(t *testing.T) {
	p := serve(t, nil)
	p.write("a.txt", "old")
	model := `{"type":"file","format":"text","content":"new"}`
	for name, c := range map[string]struct {
		request string
		want    int
	}{
		"whole":                  {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(model), model), 200},
		"whole, in chunks":       {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(model), model), 200},
		"cut":                    {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(model)+9, model), 400},
		"cut after chunks":       {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(model), model), 400},
		"cut in a chunk":         {fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(model)+9, model), 400},
		"two lengths":            {fmt.Sprintf("Content-Length: %d\r\nContent-Length: 3\r\n\r\n%s", len(model), model), 400},
		"a length and in chunks": {fmt.Sprintf("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(model), model), 400},
	} {
		p.write("a.txt", "old")
		got := raw(t, p, "PUT /base/api/contents/a.txt HTTP/1.1\r\nHost: x\r\n"+c.request)
		if name == "a length and in chunks" && got == 200 { // Go follows the standard: chunks win, and the line is closed after
			continue
		}
		if got != c.want || (p.read("a.txt") == "old") != (c.want != 200) {
			t.Errorf("%s: %d, the file holds %q", name, got, p.read("a.txt"))
		}
	}
}

// endless is a body without a length.
type endless struct{ left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	for i := range b[:n] {
		b[i] = ' '
	}
	e.left -= n
	return n, nil
}

func TestLengthUnsaid(t *testing.T) {
	p := serve(t, nil, contents.WithMaxContent(1<<20))
	for n, want := range map[int]int{1 << 20: 400, 1<<20 + 1: 413, 50 << 20: 413} { // spaces are no JSON
		r, err := http.NewRequest("PUT", p.url+"/api/contents/x.txt", &endless{n})
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			continue // refused while it was still being sent
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes: %d, want %d", n, res.StatusCode, want)
		}
	}
}

// TestBudget: documents that are received take their share of what there is, and
// give it back, whatever comes of them.
func TestBudget(t *testing.T) {
	b := contents.NewBudget()
	tree, err := contents.Open(t.TempDir(), contents.Owner{UID: -1}, contents.WithBudget(b))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	h := contents.Handler(func(*http.Request) (*contents.Tree, error) { return tree, nil }, nil, door, nil, nil)
	put := func(body io.Reader) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("PUT", "/api/contents/x.txt", body))
		return w.Code
	}
	good := `{"type":"file","format":"text","content":"x"}`
	type slow struct {
		w    *io.PipeWriter
		done chan int
	}
	var waiting []slow
	for range 15 { // 64 MiB are set aside for each; there is 1 GiB
		r, w := io.Pipe()
		req := httptest.NewRequest("PUT", "/api/contents/x.txt", r)
		req.ContentLength = 200 << 20
		s := slow{w, make(chan int, 1)}
		go func() {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			s.done <- rec.Code
		}()
		w.Write([]byte("x")) // taken: its share is reserved
		waiting = append(waiting, s)
	}
	if got := put(strings.NewReader(good)); got != 201 {
		t.Errorf("a small one beside fifteen large ones: %d", got)
	}
	req := httptest.NewRequest("PUT", "/api/contents/y.txt", &endless{200 << 20})
	req.ContentLength = 200 << 20
	rec := httptest.NewRecorder()
	if h.ServeHTTP(rec, req); rec.Code != 503 {
		t.Errorf("a large one beside fifteen large ones: %d %s", rec.Code, rec.Body)
	}
	for _, s := range waiting {
		s.w.CloseWithError(io.ErrUnexpectedEOF)
		if got := <-s.done; got != 400 {
			t.Errorf("a cut one: %d", got)
		}
	}
	for range 12 { // more than there would be room for, were it not given back
		if got := put(&endless{100 << 20}); got != 400 {
			t.Fatalf("afterwards: %d", got)
		}
	}
}

func TestLongPaths(t *testing.T) {
	p := serve(t, nil)
	for _, path := range []string{strings.Repeat("a", 300), strings.Repeat("a/", 3000) + "x", strings.Repeat("x", 5000), strings.Repeat("%F0%9F%90%8D", 100)} {
		for _, area := range []string{"/api/contents/", "/files/", "/view/", "/directories/"} {
			if res, body := p.do("GET", area+path, ""); res.StatusCode != 400 && res.StatusCode != 404 {
				t.Errorf("%s%.20s...: %d %s", area, path, res.StatusCode, body)
			}
		}
		if res, _ := p.do("PUT", "/api/contents/"+path, `{"type":"file","format":"text","content":"x"}`); res.StatusCode != 400 && res.StatusCode != 404 {
			t.Errorf("saving %.20s...: %d", path, res.StatusCode)
		}
		p.write("a", "x")
		if res, _ := p.do("PATCH", "/api/contents/a", `{"path":"`+path+`"}`); res.StatusCode != 400 && res.StatusCode != 404 && !strings.Contains(path, "%") {
			t.Errorf("renaming to %.20s...: %d", path, res.StatusCode)
		}
		os.RemoveAll(filepath.Join(p.dir, "a"))
	}
}
