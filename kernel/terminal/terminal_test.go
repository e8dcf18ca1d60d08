package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"testing"

	"cellar/kernel/wire"
)

func TestFramesComeBack(t *testing.T) {
	for _, payload := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("ab"), (maxFrame-1)/2)} {
		var b bytes.Buffer
		w := bufio.NewWriter(&b)
		if err := writeFrame(w, kindData, payload); err != nil {
			t.Fatal(err)
		}
		kind, got, err := readFrame(bufio.NewReader(&b))
		if err != nil || kind != kindData || !bytes.Equal(got, payload) {
			t.Errorf("%d bytes: %c, %d bytes, %v", len(payload), kind, len(got), err)
		}
	}
	if _, _, err := readFrame(bufio.NewReader(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, kindData}))); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("a frame of 4 GB: %v", err)
	}
}

// FuzzFrames: what the server in a container says, which is the project's own
// world, can do nothing to the hub.
func FuzzFrames(f *testing.F) {
	answer := func(kind byte, payload string) []byte {
		var b bytes.Buffer
		writeFrame(bufio.NewWriter(&b), kind, []byte(payload))
		return b.Bytes()
	}
	f.Add([]byte{})
	f.Add(answer(kindHello, `{}`))
	f.Add(append(answer(kindHello, `{}`), answer(kindData, "text")...))
	f.Add(append(answer(kindHello, `{}`), answer(kindExit, "")...))
	f.Add(answer(kindHello, `{"error":"there is no such terminal"}`))
	f.Add(answer(kindHello, `{"names":[{"name":"1","active":1}]}`))
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 'D'})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, said []byte) {
		for _, attach := range []bool{true, false} {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				readFrame(bufio.NewReader(there)) // what it is asked
				there.Write(said)
			}()
			if !attach {
				Ask(here, Request{Op: "list"})
				continue
			}
			c, err := Attach(here, Request{Name: "1"})
			if err != nil {
				continue
			}
			for n := 0; ; n++ {
				b, err := c.Next()
				if err != nil {
					break
				}
				if len(b) > maxFrame || n > len(said) {
					t.Fatalf("%d bytes in %d frames came of %d", len(b), n, len(said))
				}
			}
			c.Close()
		}
	})
}

// FuzzServe: nobody who talks to the server of a container brings it down. No
// shell is started: that is asked for by name in a request, with "new".
func FuzzServe(f *testing.F) {
	for _, q := range []Request{{Op: "list"}, {Op: "close", Name: "1"}, {Op: "attach", Name: "1"}, {}} {
		b, _ := json.Marshal(q)
		f.Add(byte(kindHello), b)
	}
	f.Add(byte(kindData), []byte("{}"))
	f.Add(byte(kindHello), []byte("["))
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) {
		var q Request
		if json.Unmarshal(payload, &q) == nil && q.New {
			return
		}
		s := &Server{list: map[string]*shell{}}
		here, there := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serve(t.Context(), there)
			there.Close()
		}()
		go func() {
			w := bufio.NewWriter(here)
			writeFrame(w, kind, payload)
		}()
		r := bufio.NewReader(here)
		for {
			if _, _, err := readFrame(r); err != nil {
				break
			}
		}
		here.Close()
		<-done
	})
}
