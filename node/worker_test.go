package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cellar/internal/fault"
)

// worker plays the instance's side of one call: it reads the request and hands
// it to answer.
func worker(t *testing.T, answer func(conn net.Conn, limit time.Duration, body string)) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		var head [8]byte
		if _, err := io.ReadFull(far, head[:]); err != nil {
			return
		}
		b := make([]byte, binary.LittleEndian.Uint32(head[:]))
		if _, err := io.ReadFull(far, b); err != nil {
			return
		}
		answer(far, time.Duration(binary.LittleEndian.Uint32(head[4:]))*time.Millisecond, string(b))
	}()
	return near
}

func framed(text string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		conn := worker(t, func(conn net.Conn, limit time.Duration, body string) {
			if body != `{"x":1}` || limit != 7*time.Second {
				t.Errorf("got %q with %v", body, limit)
			}
			conn.Write(framed(`{"outputs":{"y":[1, 2.50]}}`))
		})
		out, err := Call(ctx, conn, []byte(`{"x":1}`))
		if err != nil || string(out) != `{"y":[1, 2.50]}` {
			t.Errorf("%s, %v", out, err)
		}
		if _, err := conn.Write([]byte("x")); err == nil {
			t.Error("the connection was not closed")
		}
	})
}

func TestCallAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer   []byte
		class    fault.Class
		sentence string
	}{
		"nothing":            {nil, fault.Unavailable, "ended before it answered"},
		"half a length":      {[]byte{1, 0}, fault.Unavailable, "ended before it answered"},
		"half an answer":     {framed(`{"outputs":{}}`)[:10], fault.Unavailable, "ended before it answered"},
		"too large":          {binary.LittleEndian.AppendUint32(nil, MaxBody+1), fault.Exhausted, "16777216 are allowed"},
		"4 GiB":              {binary.LittleEndian.AppendUint32(nil, 1<<32-1), fault.Exhausted, "16777216 are allowed"},
		"not JSON":           {framed("{"), fault.Internal, ""},
		"no outputs":         {framed("{}"), fault.Unavailable, "ended before it answered"},
		"an input is wrong":  {framed(`{"input":"x","error_message":"too deep"}`), fault.Invalid, "x: too deep"},
		"a very long reason": {framed(`{"input":"x","error_message":"` + strings.Repeat("y", 5000) + `"}`), fault.Invalid, "x: yyy"},
	} {
		_, err := Call(t.Context(), worker(t, func(conn net.Conn, _ time.Duration, _ string) { conn.Write(c.answer) }), []byte("{}"))
		if fault.ClassOf(err) != c.class || !strings.Contains(fault.Sentence(err), c.sentence) || len(fault.Sentence(err)) > 500 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCallTellsThePersonsOwnError(t *testing.T) {
	conn := worker(t, func(conn net.Conn, _ time.Duration, _ string) {
		conn.Write(framed(`{"error_name":"ZeroDivisionError","error_message":"division by zero","traceback":["a","b"]}`))
	})
	_, err := Call(t.Context(), conn, []byte("{}"))
	var ce *CallError
	if !errors.As(err, &ce) || ce.Error() != "ZeroDivisionError: division by zero" || len(ce.Traceback) != 2 {
		t.Errorf("got %v", err)
	}
}

// TestACallerWhoIsGoneHangsUp at once, which ends the call's process.
func TestACallerWhoIsGoneHangsUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the browser went away")
	hungUp := make(chan error, 1)
	conn := worker(t, func(conn net.Conn, _ time.Duration, _ string) {
		cancel(gone)
		_, err := conn.Read(make([]byte, 1))
		hungUp <- err
	})
	if _, err := Call(ctx, conn, []byte("{}")); !errors.Is(err, gone) {
		t.Errorf("Call: %v", err)
	}
	if err := <-hungUp; !errors.Is(err, io.EOF) {
		t.Errorf("the worker saw %v", err)
	}
}

func TestACallHasATimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		conn := worker(t, func(conn net.Conn, _ time.Duration, _ string) { conn.Read(make([]byte, 1)) })
		if _, err := Call(ctx, conn, []byte("{}")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
