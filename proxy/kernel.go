package proxy

import (
	"context"
	"errors"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"cellar/kernel/wire"
)

// MaxClientMessage bounds one message of a client in bytes.
const MaxClientMessage = 256 << 20

// ErrClosed says that the kernel is gone for good.
var ErrClosed = errors.New("the kernel was shut down")

const (
	pingEvery = 30 * time.Second
	writeWait = 60 * time.Second
)

// Upgrade makes a websocket of a request for a kernel's channels; origin decides
// whether a foreign page may open it.
func Upgrade(w http.ResponseWriter, r *http.Request, origin func(*http.Request) bool) (*websocket.Conn, error) {
	u := websocket.Upgrader{
		Subprotocols: []string{wire.SubprotocolV1}, CheckOrigin: origin,
		ReadBufferSize: 32 << 10, WriteBufferSize: 64 << 10, WriteBufferPool: &writeBuffers,
	}
	return u.Upgrade(corker{w}, r, nil)
}

var writeBuffers sync.Pool

// Kernel bridges one websocket, which Upgrade made, until either side ends: messages from q go out,
// messages that come in go to send. The framing is the negotiated one.
func Kernel(ctx context.Context, ws *websocket.Conn, q *Queue, send func(wire.Channel, *wire.Message) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { ws.Close() })() // a write that hangs ends, too
	v1 := ws.Subprotocol() == wire.SubprotocolV1
	ws.SetReadLimit(MaxClientMessage)
	ws.SetReadDeadline(time.Now().Add(3 * pingEvery))
	ws.SetPongHandler(func(string) error { return ws.SetReadDeadline(time.Now().Add(3 * pingEvery)) })
	done := make(chan error, 1)
	go func() {
		err := deliver(ctx, ws, v1, q)
		ws.Close() // ends the reader
		done <- err
	}()
	err := receive(ws, v1, send)
	cancel()
	if derr := <-done; errors.Is(derr, ErrSlow) || errors.Is(derr, ErrClosed) {
		return derr
	}
	return err
}

func receive(ws *websocket.Conn, v1 bool, send func(wire.Channel, *wire.Message) error) error {
	for {
		kind, frame, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		ws.SetReadDeadline(time.Now().Add(3 * pingEvery))
		var ch wire.Channel
		var m *wire.Message
		if v1 && kind == websocket.BinaryMessage {
			ch, m, err = wire.DecodeV1(frame)
		} else {
			ch, m, err = wire.DecodeJSON(frame, kind == websocket.BinaryMessage)
		}
		if err == nil && ch == wire.IOPub {
			err = wire.ErrMalformed
		}
		if err == nil {
			err = send(ch, m)
		}
		if err != nil {
			closeWith(ws, websocket.ClosePolicyViolation, err.Error())
			return err
		}
	}
}

func deliver(ctx context.Context, ws *websocket.Conn, v1 bool, q *Queue) error {
	var buf []byte
	for {
		wait, cancel := context.WithTimeout(ctx, pingEvery)
		items, err := q.Pop(wait)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeWait)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if errors.Is(err, ErrSlow) {
				closeWith(ws, websocket.CloseTryAgainLater, err.Error())
			} else if errors.Is(err, ErrClosed) {
				closeWith(ws, websocket.CloseNormalClosure, err.Error())
			}
			return err
		}
		var left []Item
		if left, buf, err = writeAll(ws, v1, items, buf); err != nil {
			q.Unpop(left)
			return err
		}
	}
}

// writeAll writes messages in few system calls. After an error left are those
// that the connection did not take whole.
func writeAll(ws *websocket.Conn, v1 bool, items []Item, buf []byte) (left []Item, _ []byte, err error) {
	conn := ws.NetConn().(*cork)
	conn.hold()
	ends := make([]int64, 0, len(items))
	for _, it := range items {
		if buf, err = write(ws, v1, it, buf); err != nil {
			break
		}
		end, _ := conn.place()
		ends = append(ends, end)
	}
	err = errors.Join(err, conn.release())
	if err == nil {
		return nil, buf, nil
	}
	_, passed := conn.place()
	done := sort.Search(len(ends), func(i int) bool { return ends[i] > passed })
	return items[done:], buf, err
}

func write(ws *websocket.Conn, v1 bool, it Item, buf []byte) ([]byte, error) {
	ws.SetWriteDeadline(time.Now().Add(writeWait))
	if v1 {
		buf = wire.EncodeV1(buf[:0], it.Channel, it.Message)
		err := ws.WriteMessage(websocket.BinaryMessage, buf)
		if cap(buf) > 1<<20 {
			buf = nil
		}
		return buf, err
	}
	frame, binary, err := wire.EncodeJSON(it.Channel, it.Message)
	if err != nil {
		return buf, nil // not a message a client could read
	}
	kind := websocket.TextMessage
	if binary {
		kind = websocket.BinaryMessage
	}
	return buf, ws.WriteMessage(kind, frame)
}

// Refuse closes a socket that has just been opened, with the reason. The client
// may try again.
func Refuse(ws *websocket.Conn, reason string) {
	closeWith(ws, websocket.CloseTryAgainLater, reason)
	ws.Close()
}

func closeWith(ws *websocket.Conn, code int, text string) {
	if len(text) > 120 { // a close frame holds 125 bytes
		text = strings.ToValidUTF8(text[:120], "")
	}
	ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, text), time.Now().Add(time.Second))
}
