package node

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"cellar/internal/fault"
)

// WorkerPort is the TCP port in an instance's own network namespace on which
// its worker takes calls (cellar_kernel/worker.py).
const WorkerPort = 7398

// CallError is an error of the person's own code.
type CallError struct {
	Name      string   `json:"error_name"`
	Message   string   `json:"error_message"`
	Traceback []string `json:"traceback"`
}

func (e *CallError) Error() string { return e.Name + ": " + e.Message }

var errDied = fault.New(fault.Unavailable, "worker_ended", "The call's process ended before it answered: it may have used too much memory or ended itself.")

// Call sends one call over a fresh connection and waits for its answer, the
// JSON object of the outputs. The connection is closed; a caller who goes away
// thereby ends the call's process.
func Call(ctx context.Context, conn net.Conn, body []byte) (json.RawMessage, error) {
	defer conn.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	conn.SetDeadline(deadline.Add(5 * time.Second)) // the worker ends the call in time; this is for one that cannot
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	head = binary.LittleEndian.AppendUint32(head, uint32(max(1, time.Until(deadline).Milliseconds())))
	buffers := net.Buffers{head, body}
	if _, err := buffers.WriteTo(conn); err != nil {
		return nil, callError(ctx, err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, callError(ctx, err)
	}
	n := binary.LittleEndian.Uint32(size[:])
	if n > MaxBody {
		return nil, fault.Newf(fault.Exhausted, "output_too_large", "The outputs take %d bytes; %d are allowed.", n, MaxBody)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, callError(ctx, err)
	}
	return parseAnswer(answer)
}

func parseAnswer(answer []byte) (json.RawMessage, error) {
	var a struct {
		CallError
		Outputs json.RawMessage `json:"outputs"`
		Input   string          `json:"input"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("worker's answer: %w", err)
	}
	if a.Input != "" {
		return nil, fault.Newf(fault.Invalid, "input_invalid", "%.100s: %.300s", a.Input, a.Message)
	}
	if a.Name != "" {
		return nil, &a.CallError
	}
	if a.Outputs == nil {
		return nil, errDied
	}
	return a.Outputs, nil
}

func callError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDied
	}
	return fault.Wrap(fault.Unavailable, "worker_ended", errDied.Sentence, err)
}
