package keep

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"

	"cellar/kernel/wire"
)

// entryReader reads a segment's entries in order through a buffer. An entry that
// says it is larger than what is left of the segment is refused before memory is
// taken for it.
type entryReader struct {
	r    *bufio.Reader
	left int64
}

func newEntryReader(r io.Reader, size int64) *entryReader {
	return &entryReader{bufio.NewReaderSize(r, 128<<10), size}
}

func (e *entryReader) next() ([]byte, error) {
	var head [entryHead]byte
	if _, err := io.ReadFull(e.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	e.left -= entryHead + int64(n)
	if n < recordHead || n > MaxRecord || e.left < 0 {
		return nil, wire.ErrMalformed
	}
	rec := make([]byte, n)
	if _, err := io.ReadFull(e.r, rec); err != nil {
		return nil, err
	}
	if crc32.Checksum(rec, castagnoli) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, wire.ErrMalformed
	}
	return rec, nil
}
