package keep

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"time"

	"cellar/kernel/wire"
)

// Client is the hub's side of one connection to a keeper. Next is for one
// goroutine; the other methods are for any.
type Client struct {
	conn net.Conn
	r    frameReader
	w    frameWriter
	// Hello is the keeper's greeting.
	Hello Hello
	// Answered is called by Next with answers to questions; nil: they are dropped.
	Answered func(Answer)
}

// Open greets the keeper on conn and asks for the records from seq on.
func Open(conn net.Conn, from uint64) (*Client, error) {
	c := &Client{conn: conn, r: newFrameReader(conn, 256<<10), w: frameWriter{w: bufio.NewWriter(conn)}}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	defer conn.SetDeadline(time.Time{})
	if err := c.w.writeJSON(kindHello, Hello{Version: Version, From: max(from, 1)}); err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	kind, payload, err := c.r.next(1 << 20)
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	if kind != kindHello || json.Unmarshal(payload, &c.Hello) != nil || c.Hello.Version != Version {
		return nil, fmt.Errorf("keeper: %w: %.60q", wire.ErrMalformed, payload)
	}
	return c, nil
}

// Next waits for the next record.
func (c *Client) Next() (Record, error) {
	for {
		kind, payload, err := c.r.next(MaxRecord)
		if err != nil {
			return Record{}, err
		}
		switch kind {
		case kindRecord:
			return ParseRecord(payload)
		case kindAnswer:
			if err := c.answered(payload); err != nil {
				return Record{}, err
			}
		default:
			return Record{}, fmt.Errorf("keeper: %w: kind %q", wire.ErrMalformed, kind)
		}
	}
}

func (c *Client) answered(payload []byte) error {
	var a Answer
	if len(payload) > 8*maxAnswer || json.Unmarshal(payload, &a) != nil {
		return fmt.Errorf("keeper: %w: answer", wire.ErrMalformed)
	}
	if c.Answered != nil {
		c.Answered(a)
	}
	return nil
}

// Waiting reports whether a record, or an answer, has begun to arrive.
func (c *Client) Waiting() bool { return c.r.Buffered() > 0 }

// Send passes a message on to the kernel; the keeper signs it.
func (c *Client) Send(ch wire.Channel, m *wire.Message) error {
	return c.w.write(kindSend, true, []byte{byte(ch)}, appendMessage(nil, m))
}

// Ack lets the keeper forget the records up to seq.
func (c *Client) Ack(seq uint64) error {
	return c.w.write(kindAck, true, binary.LittleEndian.AppendUint64(nil, seq))
}

// Do sends a command.
func (c *Client) Do(op string) error { return c.w.writeJSON(kindCommand, Command{Op: op}) }

// Tell has the kernel told of a hook; EventHooked with its ID follows in the
// journal.
func (c *Client) Tell(h Hook) error { return c.w.writeJSON(kindCommand, Command{Op: OpHook, Hook: &h}) }

// Ask has the kernel asked. Answered is called with the answer, if one comes: a
// kernel may keep it for itself.
func (c *Client) Ask(q Question) error {
	return c.w.writeJSON(kindCommand, Command{Op: OpAsk, Question: &q})
}

// Grant answers what the kernel wants.
func (c *Client) Grant(g Grant) error {
	return c.w.writeJSON(kindCommand, Command{Op: OpGrant, Grant: &g})
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }
