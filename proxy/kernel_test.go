package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// bridge is a server that bridges every socket with its queue.
type bridge struct {
	q     *Queue
	sent  chan Item  // what clients sent
	ended chan error // of each bridge
	fail  error      // of send
	url   string
}

func newBridge(t *testing.T, limit int) *bridge {
	t.Helper()
	b := &bridge{q: NewQueue(limit), sent: make(chan Item, 16), ended: make(chan error, 4)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := Upgrade(w, r, func(*http.Request) bool { return true })
		if err != nil {
			return
		}
		defer ws.Close()
		b.ended <- Kernel(context.WithoutCancel(r.Context()), ws, b.q, func(ch wire.Channel, m *wire.Message) error {
			b.sent <- Item{ch, m}
			return b.fail
		})
	}))
	t.Cleanup(srv.Close)
	b.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return b
}

func (b *bridge) connect(t *testing.T, v1 bool) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{}
	if v1 {
		d.Subprotocols = []string{wire.SubprotocolV1}
	}
	ws, _, err := d.Dial(b.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	ws.SetReadDeadline(time.Now().Add(time.Minute))
	return ws
}

func TestBothFramings(t *testing.T) {
	for name, v1 := range map[string]bool{"v1": true, "default": false} {
		for _, buffers := range [][][]byte{nil, {[]byte("\x00\xff"), {}}} {
			b := newBridge(t, 1<<20)
			ws := b.connect(t, v1)
			m := &wire.Message{Header: []byte(`{"msg_id":"1","msg_type":"comm_msg"}`), Parent: []byte(`{}`), Metadata: []byte(`{}`), Content: []byte(`{"x":1}`), Buffers: buffers}
			frame, kind := wire.EncodeV1(nil, wire.Control, m), websocket.BinaryMessage
			if !v1 {
				f, isBinary, err := wire.EncodeJSON(wire.Control, m)
				if err != nil {
					t.Fatal(err)
				}
				if frame = f; !isBinary {
					kind = websocket.TextMessage
				}
			}
			if err := ws.WriteMessage(kind, frame); err != nil {
				t.Fatal(err)
			}
			it := <-b.sent
			if it.Channel != wire.Control || string(it.Message.Content) != `{"x":1}` || len(it.Message.Buffers) != len(buffers) {
				t.Errorf("%s: the kernel got %v %+v", name, it.Channel, it.Message)
			}
			b.q.Push(Item{wire.IOPub, m})
			gotKind, got, err := ws.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			wantKind, decode := websocket.TextMessage, func() (wire.Channel, *wire.Message, error) { return wire.DecodeJSON(got, buffers != nil) }
			if v1 || buffers != nil {
				wantKind = websocket.BinaryMessage
			}
			if v1 {
				decode = func() (wire.Channel, *wire.Message, error) { return wire.DecodeV1(got) }
			}
			ch, back, err := decode()
			if err != nil || gotKind != wantKind || ch != wire.IOPub || string(back.Content) != `{"x":1}` || len(back.Buffers) != len(buffers) {
				t.Errorf("%s: the client got kind %d, %v, %+v, %v", name, gotKind, ch, back, err)
			}
			ws.Close()
			if err := <-b.ended; err == nil {
				t.Error("the bridge ended without saying why")
			}
		}
	}
}

// closed reads until the socket ends, and gives the close code.
func closed(t *testing.T, ws *websocket.Conn) *websocket.CloseError {
	t.Helper()
	for {
		_, _, err := ws.ReadMessage()
		if err == nil {
			continue
		}
		var ce *websocket.CloseError
		if !errors.As(err, &ce) {
			t.Fatalf("no close frame: %v", err)
		}
		return ce
	}
}

func TestASlowClientIsTold(t *testing.T) {
	b := newBridge(t, 10)
	ws := b.connect(t, true)
	b.q.Close(ErrSlow)
	if ce := closed(t, ws); ce.Code != websocket.CloseTryAgainLater || !strings.Contains(ce.Text, "too slowly") {
		t.Errorf("closed with %v", ce)
	}
	if err := <-b.ended; !errors.Is(err, ErrSlow) {
		t.Errorf("the bridge ended with %v", err)
	}
}

func TestAKernelThatIsGoneClosesNormally(t *testing.T) {
	b := newBridge(t, 1<<20)
	ws := b.connect(t, true)
	b.q.Push(item("last words"))
	b.q.Close(ErrClosed)
	if _, frame, err := ws.ReadMessage(); err != nil || !strings.Contains(string(frame), "last words") {
		t.Errorf("got %q, %v", frame, err)
	}
	if ce := closed(t, ws); ce.Code != websocket.CloseNormalClosure {
		t.Errorf("closed with %v", ce)
	}
	if err := <-b.ended; !errors.Is(err, ErrClosed) {
		t.Errorf("the bridge ended with %v", err)
	}
}

func TestHostileFramesCloseTheSocket(t *testing.T) {
	iopub := &wire.Message{Header: []byte(`{}`)}
	for name, c := range map[string]struct {
		v1    bool
		kind  int
		frame []byte
	}{
		"v1 garbage":            {true, websocket.BinaryMessage, []byte("garbage that is no frame")},
		"v1 empty":              {true, websocket.BinaryMessage, nil},
		"v1 on iopub":           {true, websocket.BinaryMessage, wire.EncodeV1(nil, wire.IOPub, iopub)},
		"v1 as the keeper":      {true, websocket.BinaryMessage, wire.EncodeV1(nil, wire.Event, iopub)},
		"v1 a text not JSON":    {true, websocket.TextMessage, []byte("{")},
		"default not JSON":      {false, websocket.TextMessage, []byte("hello")},
		"default on iopub":      {false, websocket.TextMessage, []byte(`{"channel":"iopub"}`)},
		"default binary":        {false, websocket.BinaryMessage, []byte("\xff\xff\xff\xff\xff\xff\xff\xff")},
		"a long foreign name":   {false, websocket.TextMessage, []byte(`{"channel":"` + strings.Repeat("𝔘", 40) + `"}`)},
		"another foreign name":  {false, websocket.TextMessage, []byte(`{"channel":"x` + strings.Repeat("𝔘", 40) + `"}`)},
		"yet another of these":  {false, websocket.TextMessage, []byte(`{"channel":"xx` + strings.Repeat("𝔘", 40) + `"}`)},
		"one more foreign name": {false, websocket.TextMessage, []byte(`{"channel":"xxx` + strings.Repeat("𝔘", 40) + `"}`)},
	} {
		b := newBridge(t, 1<<20)
		ws := b.connect(t, c.v1)
		if err := ws.WriteMessage(c.kind, c.frame); err != nil {
			t.Fatal(err)
		}
		if ce := closed(t, ws); ce.Code != websocket.ClosePolicyViolation || !utf8.ValidString(ce.Text) {
			t.Errorf("%s: closed with %v", name, ce)
		}
		if err := <-b.ended; !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: the bridge ended with %v", name, err)
		}
		select {
		case it := <-b.sent:
			t.Errorf("%s: the kernel got %+v", name, it)
		default:
		}
	}
}

// TestALongReasonIsCut to what a close frame holds, at a character.
func TestALongReasonIsCut(t *testing.T) {
	for pad := range 4 {
		b := newBridge(t, 1<<20)
		b.fail = errors.New(strings.Repeat("x", pad) + strings.Repeat("𝔘", 100))
		ws := b.connect(t, true)
		if err := ws.WriteMessage(websocket.BinaryMessage, wire.EncodeV1(nil, wire.Shell, &wire.Message{})); err != nil {
			t.Fatal(err)
		}
		if ce := closed(t, ws); ce.Code != websocket.ClosePolicyViolation || !utf8.ValidString(ce.Text) || len(ce.Text) < 100 {
			t.Errorf("pad %d: closed with %v", pad, ce)
		}
		if err := <-b.ended; !errors.Is(err, b.fail) {
			t.Errorf("the bridge ended with %v", err)
		}
	}
}

// TestWhatAClientMissedStaysInTheQueue for when it comes back.
func TestWhatAClientMissedStaysInTheQueue(t *testing.T) {
	b := newBridge(t, 1<<20)
	ws := b.connect(t, true)
	ws.Close()
	<-b.ended
	b.q.Push(item("missed"))
	ws = b.connect(t, true)
	if _, frame, err := ws.ReadMessage(); err != nil || !strings.Contains(string(frame), "missed") {
		t.Errorf("got %q, %v", frame, err)
	}
}

func TestAMessageNoClientCanReadIsLeftOut(t *testing.T) {
	b := newBridge(t, 1<<20)
	ws := b.connect(t, false)
	b.q.Push(Item{wire.IOPub, &wire.Message{Header: []byte(`{"msg_id":`)}})
	b.q.Push(Item{wire.IOPub, &wire.Message{Content: []byte(`not json`)}})
	b.q.Push(item("good"))
	if _, frame, err := ws.ReadMessage(); err != nil || !strings.Contains(string(frame), "good") {
		t.Errorf("got %q, %v", frame, err)
	}
}
