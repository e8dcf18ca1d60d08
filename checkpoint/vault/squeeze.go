package vault

import (
	"errors"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// How bytes stand in a block or a table, said by its first byte.
const (
	asIs   = 0
	asZstd = 1
)

// squeezers makes compressors as they are needed, and keeps them for the next.
// One is some hundred KiB.
type squeezers struct{ pool sync.Pool }

func (s *squeezers) get() *zstd.Encoder {
	if e, ok := s.pool.Get().(*zstd.Encoder); ok {
		return e
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // only for options that cannot be
	}
	return e
}

// squeeze appends plain to dst, compressed if that is smaller.
func (s *squeezers) squeeze(dst, plain []byte) []byte {
	e := s.get()
	defer s.pool.Put(e)
	out := e.EncodeAll(plain, append(dst, asZstd))
	if len(out)-len(dst) > len(plain) {
		out = append(append(out[:len(dst)], asIs), plain...)
	}
	return out
}

// stretchers are squeezers the other way round, for outputs of up to most bytes.
type stretchers struct {
	most uint64
	pool sync.Pool
}

func (s *stretchers) get() *zstd.Decoder {
	if d, ok := s.pool.Get().(*zstd.Decoder); ok {
		return d
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(s.most),
		zstd.WithDecoderLowmem(true), zstd.IgnoreChecksum(true)) // sealed: the tag is the checksum
	if err != nil {
		panic(err) // only for options that cannot be
	}
	return d
}

// stretch appends what was squeezed to dst.
func (s *stretchers) stretch(dst, b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, errors.New("nothing to decompress")
	}
	switch b[0] {
	case asIs:
		if uint64(len(b)) > s.most+1 {
			return nil, errors.New("larger than it may be")
		}
		return append(dst, b[1:]...), nil
	case asZstd:
		d := s.get()
		defer s.pool.Put(d)
		return d.DecodeAll(b[1:], dst)
	}
	return nil, errors.New("compressed in an unknown way")
}
