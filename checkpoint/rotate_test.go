package checkpoint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"cellar/checkpoint/vault"
)

// failingKeys cannot be replaced.
type failingKeys struct{ memoryKeys }

func (failingKeys) ReplaceKeys(context.Context, func(kind, id string, sealed []byte) ([]byte, error)) error {
	return errors.New("the disk is full")
}

// doubtfulKeys are replaced, and nobody is told.
type doubtfulKeys struct{ memoryKeys }

func (d doubtfulKeys) ReplaceKeys(ctx context.Context, change func(kind, id string, sealed []byte) ([]byte, error)) error {
	return errors.Join(d.memoryKeys.ReplaceKeys(ctx, change), errors.New("the answer was lost"))
}

// TestRotateFile: the keys stay what they are, the old master key opens nothing
// any more, and wherever it is cut off there is one that does.
func TestRotateFile(t *testing.T) {
	ctx, keys := t.Context(), memoryKeys{}
	file := filepath.Join(t.TempDir(), "master.key")
	k, err := OpenKeyring(ctx, file, keys)
	ok(t, err)
	ann, err := k.Tenant(ctx, "ann")
	ok(t, err)
	old := k.Master
	holds := func(when string) vault.Key {
		t.Helper()
		k, err := OpenKeyring(ctx, file, keys)
		ok(t, err)
		if got, err := k.Tenant(ctx, "ann"); err != nil || got != ann {
			t.Errorf("%s: another key, %v", when, err)
		}
		if _, err := os.Stat(file + nextSuffix); err == nil {
			t.Errorf("%s: a second file is left", when)
		}
		return k.Master
	}
	ok(t, RotateFile(ctx, file, keys))
	rotated := holds("rotated")
	if rotated == old {
		t.Error("the master key is the old one")
	}
	if _, err := unseal(old, kindTenant, "ann", keys["tenant/ann"]); err == nil {
		t.Error("the old master key opens the keys")
	}

	if err := RotateFile(ctx, file, failingKeys{keys}); err == nil {
		t.Error("no error of a store that failed")
	}
	if holds("not sealed anew") != rotated {
		t.Error("the master key has changed although nothing was sealed with it")
	}
	if err := RotateFile(ctx, file, doubtfulKeys{keys}); err == nil {
		t.Error("no error of a store that answered with one")
	}
	if next := holds("sealed anew, with an error"); next == rotated {
		t.Error("the old master key opens what the new one sealed")
	} else {
		rotated = next
	}
	ok(t, writeKey(file+nextSuffix, vault.Key{7})) // ended before the keys were sealed anew
	if holds("cut off before") != rotated {
		t.Error("the master key has changed")
	}
	ok(t, writeKey(file+nextSuffix, vault.Key{8})) // ended after that
	ok(t, (&Keyring{Master: rotated, Store: keys}).Rotate(ctx, vault.Key{8}))
	if holds("cut off after") != (vault.Key{8}) {
		t.Error("the new master key was not taken")
	}
}

// TestSign: what this server has signed it knows again, also when its master key
// was rotated; nobody else's, and nothing else.
func TestSign(t *testing.T) {
	ctx, keys := t.Context(), memoryKeys{}
	file := filepath.Join(t.TempDir(), "master.key")
	archive := func(file string, keys memoryKeys) *Archive {
		t.Helper()
		k, err := OpenKeyring(ctx, file, keys)
		ok(t, err)
		return &Archive{Keys: k}
	}
	const digest = "sha256:00"
	signature, err := archive(file, keys).Sign(ctx, digest)
	ok(t, err)
	ok(t, RotateFile(ctx, file, keys))
	other := archive(filepath.Join(t.TempDir(), "other.key"), memoryKeys{})
	theirs, err := other.Sign(ctx, digest)
	ok(t, err)
	for name, c := range map[string]struct {
		a                 *Archive
		digest, signature string
		want              bool
	}{
		"ours":            {archive(file, keys), digest, signature, true},
		"another digest":  {archive(file, keys), "sha256:01", signature, false},
		"theirs":          {archive(file, keys), digest, theirs, false},
		"ours, for them":  {other, digest, signature, false},
		"none":            {archive(file, keys), digest, "", false},
		"half of it":      {archive(file, keys), digest, signature[:32], false},
		"more than it is": {archive(file, keys), digest, signature + "0", false},
	} {
		if got, err := c.a.Signed(ctx, c.digest, c.signature); err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
