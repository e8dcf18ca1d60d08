package checkpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"cellar/checkpoint/vault"
	"cellar/checkpoint/vault/blob"
	"cellar/kernel/pager"
)

// ReadFrom reads where the late pages of a dump are; nil when all are in its
// files.
func ReadFrom(dump string) (*From, error) {
	b, err := os.ReadFile(filepath.Join(dump, LateName))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f From
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", LateName, err)
	}
	return &f, nil
}

// lateCache is the memory for decoded blocks of a pager.
const lateCache = 16 << 20

// Open opens the pages for a pager, with the tenant's key.
func (f *From) Open(tenant vault.Key) (pager.Opener, error) {
	store, err := blob.ReadDisk(f.Store)
	if err != nil {
		return nil, err
	}
	r := vault.OpenReader(store, tenant, lateCache)
	return func(name string) (pager.Source, error) {
		o, ok := f.Objects[filepath.Base(name)]
		if !ok {
			return nil, fmt.Errorf("%s says nothing of %s", LateName, name)
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

// Close implements pager.Source.
func (s *source) Close() error { return nil }
