package vault

import (
	"bytes"
	"crypto/cipher"
)

// Hash is the keyed hash of a page's content and level: equal hashes are taken
// for equal pages.
//
// It is a universal hash under a secret key (GHASH) with AES over it, which
// makes it a pseudo-random function: whoever has not the tenant's key can find
// no two pages with one hash better than by chance, 2^-119 for a pair, and
// hashes tell nothing. decisions/0032-vault.md says why not HMAC.
type Hash [16]byte

// hasher hashes pages. It is for many goroutines.
type hasher struct {
	mac    cipher.AEAD
	cover  cipher.Block
	levels [maxHeight + 1]nonce
}

func newHasher(k Key) *hasher {
	h := &hasher{mac: newGCM(k.derive(nil, "page mac", 32)), cover: newAES(k.derive(nil, "page hash", 32))}
	for level := range h.levels {
		h.levels[level] = nonceOf(uint32(level))
	}
	return h
}

// sum hashes a page (level 0) or a node: a node is never taken for a page that
// looks like it, nor for a node of another level.
func (h *hasher) sum(level int, page []byte) (out Hash) {
	tag := h.mac.Seal(out[:0], h.levels[level][:], nil, page)
	h.cover.Encrypt(out[:], tag)
	return out
}

var zeroPage [PageSize]byte

func isZero(page []byte) bool { return bytes.Equal(page, zeroPage[:]) }
