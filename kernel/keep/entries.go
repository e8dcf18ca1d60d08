package keep

import (
	"bufio"
	"encoding/binary"
	"hash/crc32"
	"io"

	"cellar/kernel/wire"
)

// entryReader reads a segment's entries in order through a buffer.
type entryReader struct{ r *bufio.Reader }

func newEntryReader(r io.Reader) entryReader {
	return entryReader{bufio.NewReaderSize(r, 128<<10)}
}

func (e entryReader) next() ([]byte, error) {
	var head [entryHead]byte
	if _, err := io.ReadFull(e.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n < recordHead || n > MaxRecord {
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
