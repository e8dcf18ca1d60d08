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
	r     *bufio.Reader
	left  int64
	arena wire.Arena
}

func newEntryReader(r io.Reader, size int64) *entryReader {
	return &entryReader{r: bufio.NewReaderSize(r, 128<<10), left: size}
}

func (e *entryReader) next() ([]byte, error) {
	head, err := peek(e.r, entryHead)
	if err != nil {
		return nil, err
	}
	n, sum := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
	e.r.Discard(entryHead)
	e.left -= entryHead + int64(n)
	if n < recordHead || n > MaxRecord || e.left < 0 {
		return nil, wire.ErrMalformed
	}
	rec, err := e.arena.Read(e.r, uint64(n))
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(rec, castagnoli) != sum {
		return nil, wire.ErrMalformed
	}
	return rec, nil
}
