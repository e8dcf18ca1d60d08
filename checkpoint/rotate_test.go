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
