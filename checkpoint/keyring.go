package checkpoint

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"cellar/checkpoint/vault"
	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

// Wrapped keeps keys that are sealed with the master key. PutKey of one that is
// there already is fault.Conflict; Key of one that is not, fault.NotFound.
type Wrapped interface {
	Key(ctx context.Context, kind, id string) ([]byte, error)
	PutKey(ctx context.Context, kind, id string, sealed []byte) error
	EachKey(ctx context.Context, fn func(kind, id string, sealed []byte) error) error
	ReplaceKeys(ctx context.Context, change func(kind, id string, sealed []byte) ([]byte, error)) error
}

// Keyring gives random keys of tenants and projects, kept sealed with a master
// key: whoever has the disk but not that has nothing.
type Keyring struct {
	Master vault.Key
	Store  Wrapped

	mu    sync.Mutex
	known map[string]vault.Key
}

const (
	kindTenant  = "tenant"
	kindProject = "project"
	kindServer  = "server"
)

// Tenant implements Keys.
func (k *Keyring) Tenant(ctx context.Context, id string) (vault.Key, error) {
	return k.get(ctx, kindTenant, id)
}

// Project implements Keys.
func (k *Keyring) Project(ctx context.Context, id string) (vault.Key, error) {
	return k.get(ctx, kindProject, id)
}

// Server implements Keys.
func (k *Keyring) Server(ctx context.Context) (vault.Key, error) {
	return k.get(ctx, kindServer, "artifacts")
}

func (k *Keyring) get(ctx context.Context, kind, id string) (vault.Key, error) {
	k.mu.Lock()
	key, ok := k.known[kind+"/"+id]
	k.mu.Unlock()
	if ok {
		return key, nil
	}
	sealed, err := k.Store.Key(ctx, kind, id)
	if errors.Is(err, fault.NotFound) {
		rand.Read(key[:])
		if err = k.Store.PutKey(ctx, kind, id, seal(k.Master, kind, id, key)); errors.Is(err, fault.Conflict) {
			sealed, err = k.Store.Key(ctx, kind, id) // somebody was faster
		}
	}
	if err == nil && sealed != nil {
		key, err = unseal(k.Master, kind, id, sealed)
	}
	if err != nil {
		return vault.Key{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[string]vault.Key{}
	}
	k.known[kind+"/"+id] = key
	return key, nil
}

// Rotate seals all keys with another master key. The keys themselves stay, so
// nothing that they seal has to be written anew.
func (k *Keyring) Rotate(ctx context.Context, master vault.Key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.Store.ReplaceKeys(ctx, func(kind, id string, sealed []byte) ([]byte, error) {
		key, err := unseal(k.Master, kind, id, sealed)
		if err != nil {
			return nil, err
		}
		return seal(master, kind, id, key), nil
	})
	if err == nil {
		k.Master = master
	}
	return err
}

func aead(master vault.Key) cipher.AEAD {
	block, err := aes.NewCipher(master[:])
	if err == nil {
		var a cipher.AEAD
		if a, err = cipher.NewGCM(block); err == nil {
			return a
		}
	}
	panic(err) // the length of the key is right
}

// seal makes nonce and ciphertext; what the key is for is authenticated, so that
// nobody can give one tenant another's.
func seal(master vault.Key, kind, id string, key vault.Key) []byte {
	a := aead(master)
	nonce := make([]byte, a.NonceSize())
	rand.Read(nonce)
	return a.Seal(nonce, nonce, key[:], []byte(kind+"/"+id))
}

func unseal(master vault.Key, kind, id string, sealed []byte) (key vault.Key, err error) {
	a := aead(master)
	if len(sealed) < a.NonceSize() {
		return key, errMaster
	}
	b, err := a.Open(nil, sealed[:a.NonceSize()], sealed[a.NonceSize():], []byte(kind+"/"+id))
	if err != nil || len(b) != len(key) {
		return key, errMaster
	}
	copy(key[:], b)
	return key, nil
}

const errMasterCode = "master_key"

var errMaster = fault.New(fault.Unavailable, errMasterCode, "The master key is not the one that the checkpoints' keys were sealed with.")

// OpenKeyring opens the keys in store with the master key in a file, and makes the
// file when it is missing and seals nothing yet. A master key that is another one
// is refused here, not when somebody's session is to wake. A rotation that was cut
// off is brought to its end.
func OpenKeyring(ctx context.Context, file string, store Wrapped) (*Keyring, error) {
	k, err := openKeyring(ctx, file, store)
	if err == nil {
		_ = os.Remove(file + nextSuffix) // of a rotation that did not come far enough; it opens nothing
	}
	if fault.CodeOf(err) != errMasterCode {
		return k, err
	}
	if _, e := os.Stat(file + nextSuffix); e != nil {
		return nil, err
	}
	next, e := openKeyring(ctx, file+nextSuffix, store)
	if e != nil {
		return nil, err
	}
	return next, os.Rename(file+nextSuffix, file)
}

// RotateFile seals the keys in store with a new master key, which takes the place
// of the one in file. Whatever happens, one of the two files opens the keys.
func RotateFile(ctx context.Context, file string, store Wrapped) error {
	k, err := OpenKeyring(ctx, file, store)
	if err != nil {
		return err
	}
	var next vault.Key
	rand.Read(next[:])
	if err := writeKey(file+nextSuffix, next); err != nil {
		return err
	}
	if err := k.Rotate(ctx, next); err != nil {
		return err // the keys may be sealed anew all the same: who opens them next finds out
	}
	return errors.Join(os.Rename(file+nextSuffix, file), blob.SyncFolder(filepath.Dir(file)))
}

// nextSuffix is of the file of a master key that is to take the place of another.
const nextSuffix = ".next"

func openKeyring(ctx context.Context, file string, store Wrapped) (*Keyring, error) {
	used := false
	master, err := readKey(file)
	k := &Keyring{Master: master, Store: store}
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	err = store.EachKey(ctx, func(kind, id string, sealed []byte) error {
		if used = true; missing {
			return nil
		}
		_, err := unseal(master, kind, id, sealed)
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", file, err)
	case missing && used:
		return nil, fmt.Errorf("the master key %s is missing, and stored checkpoints need it; name its file with --master-key, or put it back", file)
	case missing:
		rand.Read(k.Master[:])
		return k, writeKey(file, k.Master)
	}
	return k, nil
}

// readKey reads a key from a file, 64 hexadecimal digits.
func readKey(file string) (key vault.Key, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return key, err
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("%s does not hold a master key: 64 hexadecimal digits are expected", file)
	}
	copy(key[:], raw)
	return key, nil
}

// writeKey makes a file that only its owner may read, whole or not at all.
func writeKey(file string, key vault.Key) error {
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\n", hex.EncodeToString(key[:]))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return blob.SyncFolder(filepath.Dir(file)) // without the key nothing can be read: a power cut must not take it
}
