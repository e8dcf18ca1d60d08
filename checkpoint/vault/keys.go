package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Key is a key of a tenant or a project.
type Key [32]byte

// String keeps keys out of logs.
func (Key) String() string { return "(key)" }

// GoString keeps keys out of logs.
func (Key) GoString() string { return "(key)" }

// derive makes a key for one purpose out of another.
func (k Key) derive(salt []byte, purpose string, size int) []byte {
	out, err := hkdf.Key(sha256.New, k[:], salt, "cellar vault "+purpose, size)
	if err != nil {
		panic(err) // only for a size that HKDF cannot give
	}
	return out
}

// aead makes the cipher of one purpose; with a salt of its own for each use,
// so that counting up is enough for nonces.
func (k Key) aead(salt []byte, purpose string) cipher.AEAD {
	return newGCM(k.derive(salt, purpose, 32))
}

func newGCM(key []byte) cipher.AEAD {
	gcm, err := cipher.NewGCM(newAES(key))
	if err != nil {
		panic(err) // AES has the block size that GCM wants
	}
	return gcm
}

func newAES(key []byte) cipher.Block {
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a key of another length
	}
	return c
}

const (
	keyIDSize = 8
	saltSize  = 16
	tagSize   = 16
)

// keyID tells keys apart without telling anything of them, so that a wrong key
// is not taken for damage.
type keyID [keyIDSize]byte

func (k Key) id() keyID { return keyID(k.derive(nil, "key id", keyIDSize)) }

type salt [saltSize]byte

func newSalt() (s salt) {
	rand.Read(s[:]) // never fails
	return s
}

type nonce [12]byte

func nonceOf(n uint32) (x nonce) {
	binary.BigEndian.PutUint32(x[8:], n)
	return x
}

// keyring is what is derived from a tenant's key once.
type keyring struct {
	tenant Key
	id     keyID
}

// A box is something small, sealed: magic, what it is, the key's ID, salt,
// ciphertext. It is bound to the name of its blob.
const (
	boxMagic  = "CVbx"
	boxHeader = len(boxMagic) + 1 + keyIDSize + saltSize
)

type boxKind byte

const (
	boxHigh boxKind = 1 + iota
	boxForward
	boxRoots
	boxManifest
)

func sealBox(k Key, kind boxKind, name, plain []byte) []byte {
	id, salt := k.id(), newSalt()
	b := append(make([]byte, 0, boxHeader+len(plain)+tagSize), boxMagic...)
	b = append(b, byte(kind))
	b = append(append(b, id[:]...), salt[:]...)
	n := nonceOf(0)
	return k.aead(salt[:], "box").Seal(b, n[:], plain, append(b[:boxHeader:boxHeader], name...))
}

func openBox(k Key, kind boxKind, name, b []byte) ([]byte, error) {
	if len(b) < boxHeader+tagSize || string(b[:4]) != boxMagic || boxKind(b[4]) != kind {
		return nil, damaged(string(name), errors.New("no box of this kind"))
	}
	if keyID(b[5:]) != k.id() {
		return nil, wrongKey(string(name))
	}
	n := nonceOf(0)
	plain, err := k.aead(b[5+keyIDSize:boxHeader], "box").Open(nil, n[:], b[boxHeader:], append(b[:boxHeader:boxHeader], name...))
	if err != nil {
		return nil, damaged(string(name), err)
	}
	return plain, nil
}
