package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"testing"

	"cellar/internal/fault"
)

// said is a conversation in which the program says these bytes.
type said struct {
	io.Reader
	asked bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) { return s.asked.Write(b) }

func says(head, body string) *said {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(head)))
	return &said{Reader: bytes.NewReader(append(append(b, head...), body...))}
}

func TestAskConvert(t *testing.T) {
	s := says(`{"kind":"text/html","ending":".html","size":4}`, "page")
	out, err := askConvert(s, map[string]string{"format": "html"})
	if err != nil || out.Kind != "text/html" || out.Ending != ".html" || string(out.Data) != "page" {
		t.Fatalf("%+v %v", out, err)
	}
	b := s.asked.Bytes()
	var asked map[string]string
	if len(b) < 4 || binary.BigEndian.Uint32(b) != uint32(len(b)-4) || json.Unmarshal(b[4:], &asked) != nil || asked["format"] != "html" {
		t.Errorf("asked %q", b)
	}
}

// The program's container runs a stranger's code: nothing it says does harm.
func TestAskConvertIsSuspicious(t *testing.T) {
	for name, c := range map[string]struct {
		s    *said
		code string
	}{
		"nothing":            {&said{Reader: bytes.NewReader(nil)}, "convert_failed"},
		"half a length":      {&said{Reader: bytes.NewReader([]byte{0, 0})}, "convert_failed"},
		"a huge head":        {&said{Reader: bytes.NewReader([]byte{255, 255, 255, 255, 'x'})}, "convert_failed"},
		"half a head":        {&said{Reader: bytes.NewReader([]byte{0, 0, 0, 9, '{'})}, "convert_failed"},
		"no JSON":            {says("hello", ""), "convert_failed"},
		"no kind":            {says(`{"size":0}`, ""), "convert_failed"},
		"a header in a kind": {says(`{"kind":"text/html\r\nSet-Cookie: a","ending":".html","size":0}`, ""), "convert_failed"},
		"a path in ending":   {says(`{"kind":"text/html","ending":"/../x","size":0}`, ""), "convert_failed"},
		"negative":           {says(`{"kind":"text/html","ending":".html","size":-1}`, ""), "convert_failed"},
		"too large":          {says(`{"kind":"text/html","ending":".html","size":67108865}`, ""), "too_large"},
		"half a body":        {says(`{"kind":"text/html","ending":".html","size":9}`, "half"), "convert_failed"},
		"no nbconvert":       {says(`{"error":"missing"}`, ""), "no_nbconvert"},
		"unknown":            {says(`{"error":"unknown"}`, ""), "unknown_format"},
		"no pandoc":          {says(`{"error":"needs","message":"pandoc"}`, ""), "format_unsupported"},
		"failed":             {says(`{"error":"failed","message":"KeyError: 'cells'"}`, ""), "convert_failed"},
		"another error":      {says(`{"error":"odd"}`, ""), "convert_failed"},
	} {
		if _, err := askConvert(c.s, nil); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

// One conversion at a time in a project, a few that wait, the next is refused;
// projects do not wait for one another.
func TestConversionsTakeTurns(t *testing.T) {
	var c conversions
	ctx, cancel := context.WithCancel(t.Context())
	leave, err := c.enter(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.enter(ctx, "q")
	if err != nil {
		t.Fatal(err)
	}
	other()
	turn := make(chan error, convertWaiting)
	for range convertWaiting {
		go func() {
			leave, err := c.enter(ctx, "p")
			if err == nil {
				leave()
			}
			turn <- err
		}()
	}
	for waiting := 0; waiting < convertWaiting+1; { // until all of them are in the line
		c.mu.Lock()
		waiting = c.slots["p"].users
		c.mu.Unlock()
	}
	if _, err := c.enter(ctx, "p"); fault.CodeOf(err) != "convert_busy" {
		t.Errorf("one too many: %v", err)
	}
	select {
	case err := <-turn:
		t.Errorf("two at a time (%v)", err)
	default:
	}
	leave()
	for range convertWaiting {
		if err := <-turn; err != nil {
			t.Error(err)
		}
	}
	if leave, err = c.enter(ctx, "p"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := c.enter(ctx, "p"); err == nil {
		t.Error("entered though it was given up")
	}
	leave()
	if len(c.slots) != 0 {
		t.Errorf("slots left: %v", c.slots)
	}
}
