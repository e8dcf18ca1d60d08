package containerd

import (
	"crypto/rand"
	"encoding/hex"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
)

func rand8() string {
	b := make([]byte, 4)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func chainID(diffs []digest.Digest) string { return identity.ChainID(diffs).String() }
