// Package vault keeps the memory and the files of checkpoints: pages of 4096
// bytes by content, each once, compressed and encrypted, and objects made of
// them. One vault is for one tenant, with one key; whatever states of the tenant
// have in common is stored once.
//
// The package knows no kernels, projects or users, and not what its objects
// mean: a caller stores pages and readers, and one manifest per checkpoint that
// names the objects.
//
// On the storage (see package blob) a vault is:
//
//	high         the highest number that a segment may have
//	seg/NNNNNNNN a segment: pages in blocks, and a footer (segment.go, footer.go)
//	fwd/NNNNNNNN where the pages of a collected segment are now (forward.go)
//	man/NAME     a manifest (manifest.go)
//
// All but names, sizes and counts is sealed with keys derived from the
// tenant's; the caller's part of a manifest with the project's.
package vault

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

// PageSize is the size of a page, in bytes.
const PageSize = 4096

// Options of a vault. The zero value of a field means its default.
type Options struct {
	// Index is the file of the deduplication index, local and derived: it may be
	// deleted. Empty: the index is in memory and made anew at every Open.
	Index string
	// Cache is the memory for decoded blocks and for footers, bytes each. Default 32 MiB.
	Cache int64
	// Limit, when given, is called with the bytes that were worked on since the
	// last call, about once per MiB; it may wait, and ends the work with an error.
	Limit func(ctx context.Context, bytes int) error
	// SegmentBytes is the stored size at which a segment is closed. Default 64 MiB.
	SegmentBytes int64
	// SegmentEntries is the number of pages at which a segment is closed. Default 131072, the most.
	SegmentEntries int
}

func (o Options) withDefaults() Options {
	if o.Cache <= 0 {
		o.Cache = 32 << 20
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 64 << 20
	}
	o.SegmentBytes = min(o.SegmentBytes, 1<<30)
	if o.SegmentEntries <= 0 || o.SegmentEntries > maxEntries {
		o.SegmentEntries = maxEntries
	}
	return o
}

// Vault is a vault open for writing. One process at a time has it so.
type Vault struct {
	*Reader
	opt   Options
	index *index

	mu       sync.Mutex
	sealed   map[uint32]int64  // segments that are there -> stored bytes
	owners   map[uint32]*owner // of segments whose session, or collection, still runs
	sessions map[*Session]bool
	recent   map[string]bool // names committed since a collection looked
	naming   map[string]bool // names that are being committed or deleted
	next     uint32          // number of the next segment
	high     uint32          // numbers below it are reserved on the storage
	sweep    *collection     // the collection that is closing, or nil
	dead     int64           // stored bytes that are dead, by the last collection; -1 unknown

	numbering chan struct{} // held by whoever reserves numbers
	upkeep    chan struct{} // held by GC, Verify: one at a time
}

// owner is who writes segments: a session or a collection.
type owner struct{ name string }

// Open opens the vault in store, or begins one. The index is made anew if it
// is not what the segments say.
func Open(ctx context.Context, store blob.Store, tenant Key, opt Options) (*Vault, error) {
	opt = opt.withDefaults()
	v := &Vault{
		Reader: OpenReader(store, tenant, opt.Cache), opt: opt,
		sealed: map[uint32]int64{}, owners: map[uint32]*owner{}, sessions: map[*Session]bool{},
		recent: map[string]bool{}, naming: map[string]bool{}, dead: -1,
		numbering: make(chan struct{}, 1), upkeep: make(chan struct{}, 1),
	}
	v.there = v.isSealed
	if err := store.Sweep(ctx); err != nil {
		return nil, err
	}
	if err := v.look(ctx); err != nil {
		return nil, err
	}
	index, err := openIndex(opt.Index, v.keys)
	if err != nil {
		return nil, err
	}
	v.index = index
	if err := v.fillIndex(ctx); err != nil {
		return nil, errors.Join(err, index.abandon())
	}
	return v, nil
}

// look finds out what is there, and which numbers are free.
func (v *Vault) look(ctx context.Context) error {
	segments, err := v.store.List(ctx, segPrefix)
	if err != nil {
		return err
	}
	forwards, err := v.store.List(ctx, fwdPrefix)
	if err != nil {
		return err
	}
	for _, s := range segments {
		if n, ok := numberOf(s.Name, segPrefix); ok {
			v.sealed[n] = s.Size
			v.next = max(v.next, n)
		}
	}
	for _, f := range forwards {
		if n, ok := numberOf(f.Name, fwdPrefix); ok {
			v.next = max(v.next, n)
		}
	}
	plain, err := v.readBox(ctx, highName, v.keys.tenant, boxHigh)
	switch {
	case errors.Is(err, fault.NotFound):
	case isLost(err) || err == nil && len(plain) != 4:
		// Numbers beyond those in use may have been given before, to segments that
		// nothing refers to. Verify tells of the damage.
	case err != nil:
		return err
	default:
		v.high = binary.LittleEndian.Uint32(plain)
		v.next = max(v.next, v.high-1)
	}
	v.next++
	v.high = v.next
	return nil
}

// numberBatch is how many numbers are reserved with one write.
const numberBatch = 256

// number answers a segment number that was never used before.
func (v *Vault) number(ctx context.Context, o *owner) (uint32, error) {
	select {
	case v.numbering <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { <-v.numbering }()
	v.mu.Lock()
	next, high := v.next, v.high
	v.mu.Unlock()
	if next >= high {
		if next > 1<<32-2*numberBatch {
			return 0, fault.New(fault.Exhausted, "vault_numbers", "The vault has used up its segment numbers. Copy it into a new one.")
		}
		high = next + numberBatch
		if err := v.writeBox(ctx, highName, v.keys.tenant, boxHigh, binary.LittleEndian.AppendUint32(nil, high)); err != nil {
			return 0, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next, v.high = next+1, high
	v.owners[next] = o
	return next, nil
}

// isSealed says whether a segment is there for new references.
func (v *Vault) isSealed(n uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.sealed[n]
	return ok
}

// fillIndex makes the index anew from the footers when it is not of these segments.
func (v *Vault) fillIndex(ctx context.Context) error {
	numbers := slices.Sorted(maps.Keys(v.sealed))
	if v.index.isOf(numbers) {
		return v.index.begin()
	}
	if err := v.index.reset(); err != nil {
		return err
	}
	for _, n := range numbers {
		f, err := v.footer(ctx, n)
		if err == nil {
			err = v.indexSegment(ctx, f)
		}
		if isLost(err) {
			continue // Verify says so; the index does without
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indexSegment lets the pages of a sealed segment be found.
func (v *Vault) indexSegment(ctx context.Context, f *footer) error {
	hashes, err := v.hashesOf(ctx, f)
	if err != nil {
		return err
	}
	return v.index.add(f, hashes, v.isSealed)
}

// Close closes the vault. No session may be open and no call under way.
func (v *Vault) Close() error {
	v.mu.Lock()
	numbers := slices.Sorted(maps.Keys(v.sealed))
	v.mu.Unlock()
	return v.index.close(numbers)
}

// Delete removes a manifest. What it alone used goes with the next GC. A name
// that is not there is no error.
func (v *Vault) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := v.take(name); err != nil {
		return err
	}
	defer v.give(name)
	return v.store.Delete(ctx, manPrefix+name)
}

// take keeps others away from a name while its manifest is written.
func (v *Vault) take(name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.naming[name] {
		return fault.Newf(fault.Conflict, "vault_busy", "The checkpoint %s is being written or deleted. Try again.", name)
	}
	v.naming[name] = true
	return nil
}

func (v *Vault) give(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.naming, name)
}

// Stats are the sizes of a vault.
type Stats struct {
	Segments  int
	Manifests int
	Pages     int64 // pages and inner nodes that are kept
	Raw       int64 // bytes of them, uncompressed
	Stored    int64 // bytes on the storage, all blobs
	Dead      int64 // bytes in segments that nothing used at the last GC; -1: no GC since Open
}

// Stats counts.
func (v *Vault) Stats(ctx context.Context) (Stats, error) {
	blobs, err := v.store.List(ctx, "")
	if err != nil {
		return Stats{}, err
	}
	var s Stats
	for _, b := range blobs {
		s.Stored += b.Size
		if strings.HasPrefix(b.Name, manPrefix) {
			s.Manifests++
		}
		n, ok := numberOf(b.Name, segPrefix)
		if !ok || !v.isSealed(n) {
			continue
		}
		s.Segments++
		t, err := v.trailer(ctx, n)
		if isLost(err) {
			continue // gone, or damaged: Verify says which
		}
		if err != nil {
			return Stats{}, err
		}
		s.Pages += int64(t.entries)
	}
	s.Raw = s.Pages * PageSize
	v.mu.Lock()
	defer v.mu.Unlock()
	s.Dead = v.dead
	return s, nil
}

const (
	highName  = "high"
	segPrefix = "seg/"
	fwdPrefix = "fwd/"
	manPrefix = "man/"
)

func segName(n uint32) string { return fmt.Sprintf("%s%08x", segPrefix, n) }
func fwdName(n uint32) string { return fmt.Sprintf("%s%08x", fwdPrefix, n) }

func numberOf(name, prefix string) (uint32, bool) {
	var n uint32
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || len(rest) != 8 {
		return 0, false
	}
	_, err := fmt.Sscanf(rest, "%08x", &n)
	return n, err == nil && n != 0 && name == fmt.Sprintf("%s%08x", prefix, n)
}

// checkName says whether a manifest may have this name.
func checkName(name string) error {
	if len(name) > 128 || strings.Contains(name, "/") {
		return fault.Newf(fault.Invalid, "vault_name", "%.80q cannot be the name of a checkpoint.", name)
	}
	return blob.CheckName(manPrefix + name)
}
