package language

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"cellar/kernel/wire"
)

// Bounds of what a language server says. Its messages hold whole documents and
// lists of completions: megabytes are usual in neither.
const (
	MaxMessage = 16 << 20
	// maxNoise is how much that belongs to no message is read over before one: a
	// library that prints to the standard output must not end the session.
	maxNoise = 64 << 10
	maxLine  = 4 << 10
)

// Reader takes messages of the base protocol apart: a header with their length,
// an empty line, JSON. What it reads is untrusted.
type Reader struct{ r *bufio.Reader }

// NewReader reads messages from r.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, maxLine)} }

// Next waits for a message and returns its JSON, which is fresh memory. At the
// end between two messages it returns io.EOF.
func (r *Reader) Next() ([]byte, error) {
	size, noise := int64(-1), 0
	for {
		line, err := r.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err == io.EOF && (size >= 0 || len(line) > 0) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == 0 && size >= 0 {
			return r.body(size)
		}
		key, value, _ := bytes.Cut(text, []byte(":"))
		if err == nil && bytes.EqualFold(bytes.TrimSpace(key), []byte("Content-Length")) {
			if size, err = length(value); err != nil {
				return nil, err
			}
			continue
		}
		if noise += len(line); noise > maxNoise {
			return nil, fmt.Errorf("%w: %d bytes without a message", wire.ErrMalformed, noise)
		}
	}
}

func length(value []byte) (int64, error) {
	n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > MaxMessage:
		return 0, fmt.Errorf("%w: a message of %.20s bytes", wire.ErrTooLarge, bytes.TrimSpace(value))
	case err != nil:
		return 0, fmt.Errorf("%w: the length of a message is %.20q", wire.ErrMalformed, value)
	}
	return int64(n), nil
}

func (r *Reader) body(size int64) ([]byte, error) {
	b, err := wire.ReadGrowing(r.r, uint64(size))
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if !IsMessage(b) {
		return nil, fmt.Errorf("%w: a message that is no JSON object", wire.ErrMalformed)
	}
	return b, nil
}

// IsMessage reports whether b is a JSON object, as every message is.
func IsMessage(b []byte) bool {
	b = bytes.TrimLeft(b, " \t\r\n")
	return len(b) > 0 && b[0] == '{' && json.Valid(b)
}

// Write sends one message, which IsMessage.
func Write(w io.Writer, message []byte) error {
	b := make([]byte, 0, len(message)+40)
	b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(message))
	_, err := w.Write(append(b, message...))
	return err
}
