package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"cellar/checkpoint/vault"
	"cellar/checkpoint/vault/blob"
	"cellar/kernel/pager"
)

// IsHollow reports whether the memory of a dump is not all in its files.
func IsHollow(dump string) bool { return pager.Hollow(dump) }

// from is where the pages are that a hollow dump has not in its files. It stands
// in the dump's pager.LateName.
type from struct {
	Store   string                  `json:"store"`   // folder of the vault
	Objects map[string]vault.Object `json:"objects"` // by the name of the pages file
}

func (f from) write(dump *os.Root) error {
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return dump.WriteFile(path.Join(Dump, pager.LateName), b, 0o600)
}

// lateCache is the memory for decoded blocks of a pager: it has to hold what is
// decoded before it is wanted.
const lateCache = 32 << 20

// OpenLate opens the pages of a hollow dump for a pager, with the tenant's key.
// It may be used in another process than the vault's: nothing that a checkpoint
// needs goes before the checkpoint is deleted.
func OpenLate(dump string, tenant vault.Key) (pager.Opener, error) {
	b, err := os.ReadFile(filepath.Join(dump, pager.LateName))
	if err != nil {
		return nil, err
	}
	var f from
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", pager.LateName, err)
	}
	store, err := blob.ReadDisk(f.Store)
	if err != nil {
		return nil, err
	}
	r := vault.OpenReader(store, tenant, lateCache)
	return func(name string) (pager.Source, error) {
		o, ok := f.Objects[filepath.Base(name)]
		if !ok {
			return nil, fmt.Errorf("%s says nothing of %s", pager.LateName, name)
		}
		return &source{pages: r.Object(o)}, nil
	}, nil
}

// source is memory that comes from a vault.
type source struct {
	pages *vault.Pages
	buf   []byte
}

// ByAddress implements pager.Source.
func (s *source) ByAddress() bool { return true }

// most is what is decoded at once: one who waits for a page meanwhile waits for
// a millisecond.
const most = 512 << 10

// Pages implements pager.Source.
func (s *source) Pages(at, n uint64) ([]byte, error) {
	if s.buf == nil {
		s.buf = make([]byte, most)
	}
	b := s.buf[:min(n, most)]
	return b, s.pages.ReadPages(context.Background(), at/vault.PageSize, b)
}

// Ahead implements pager.Source: the blocks are in the reader's cache then.
func (s *source) Ahead(at, n uint64) {
	_ = s.pages.ReadPages(context.Background(), at/vault.PageSize, make([]byte, n))
}

// Close implements pager.Source.
func (s *source) Close() error { return nil }
