package vault

import "crypto/subtle"

// A page that changed a little is stored as the XOR with its base, if that is
// smaller. Counting decides the clear cases, the compressor the others.
const (
	fewChanged  = 160  // bytes: surely smaller than the page
	manyChanged = 2048 // bytes: not worth a try
)

// deltas decides about differences. It is for one goroutine.
type deltas struct {
	s        *squeezers
	xor      [PageSize]byte
	a, b     []byte
	contents [PageSize]byte
}

// better answers the XOR of page and base if it is the better thing to store.
func (d *deltas) better(page, base []byte) ([]byte, bool) {
	subtle.XORBytes(d.xor[:], page, base)
	changed := PageSize - zeros(d.xor[:])
	switch there := PageSize - zeros(page); {
	case changed >= manyChanged || changed >= there:
		return nil, false
	case changed <= fewChanged:
		return d.xor[:], true
	}
	d.a = d.s.squeeze(d.a[:0], d.xor[:])
	d.b = d.s.squeeze(d.b[:0], page)
	return d.xor[:], len(d.a)+8 < len(d.b)
}

// zeros counts the bytes that are zero.
func zeros(p []byte) int {
	n := 0
	for _, b := range p {
		if b == 0 {
			n++
		}
	}
	return n
}
