package checkpoint

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"cellar/checkpoint/vault"
	"cellar/checkpoint/vault/blob"
	"cellar/internal/fault"
)

// Place names a checkpoint: whose vault it is in, whose key seals what is said of
// it, and its ID.
type Place struct {
	Tenant, Project, ID string
}

// Keys gives the keys of tenants and projects, making them when they are first
// asked for.
type Keys interface {
	Tenant(ctx context.Context, id string) (vault.Key, error)
	Project(ctx context.Context, id string) (vault.Key, error)
	// Server is the key that this server signs with.
	Server(ctx context.Context) (vault.Key, error)
}

// Archive keeps checkpoints: a vault for each tenant, in a folder of its own.
type Archive struct {
	Dir  string
	Keys Keys
	// Limit, if there is one, is asked about once per MiB that was worked on, and
	// may wait.
	Limit func(ctx context.Context, bytes int) error

	mu   sync.Mutex
	open map[string]*opening
}

// opening is a vault that is open, or being opened.
type opening struct {
	ready chan struct{}
	v     *vault.Vault
	err   error
	work  sync.RWMutex // held for writing by a collection, for reading by whoever saves
}

// cacheOf bounds the memory of a vault for decoded blocks, and that for footers.
const cacheOf = 16 << 20

// vault opens the vault of a tenant, once.
func (a *Archive) vault(ctx context.Context, tenant string) (*opening, error) {
	if !filepath.IsLocal(tenant) || filepath.Base(tenant) != tenant {
		return nil, fault.Newf(fault.Invalid, "bad_tenant", "%.40q cannot be a tenant.", tenant)
	}
	a.mu.Lock()
	o := a.open[tenant]
	first := o == nil
	if first {
		o = &opening{ready: make(chan struct{})}
		if a.open == nil {
			a.open = map[string]*opening{}
		}
		a.open[tenant] = o
	}
	a.mu.Unlock()
	if first {
		o.v, o.err = a.openVault(context.WithoutCancel(ctx), tenant)
		if o.err != nil { // the next one tries again
			a.mu.Lock()
			delete(a.open, tenant)
			a.mu.Unlock()
		}
		close(o.ready)
	}
	select {
	case <-o.ready:
		return o, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *Archive) folder(tenant string) string { return filepath.Join(a.Dir, tenant) }

func (a *Archive) openVault(ctx context.Context, tenant string) (*vault.Vault, error) {
	key, err := a.Keys.Tenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	store, err := blob.OpenDisk(a.folder(tenant))
	if err != nil {
		return nil, err
	}
	return vault.Open(ctx, store, key, vault.Options{Index: filepath.Join(a.Dir, "index-"+tenant), Cache: cacheOf, Limit: a.Limit})
}

// Sign says to a digest that what has it was written by this server.
func (a *Archive) Sign(ctx context.Context, digest string) (string, error) {
	key, err := a.Keys.Server(ctx)
	if err != nil {
		return "", err
	}
	sum := hmac.New(sha256.New, key[:])
	sum.Write([]byte("cellar checkpoint artifact\n" + digest))
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Signed reports whether this server said that to a digest.
func (a *Archive) Signed(ctx context.Context, digest, signature string) (bool, error) {
	want, err := a.Sign(ctx, digest)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1, err
}

// Tenants lists those who have a vault.
func (a *Archive) Tenants() (out []string, err error) {
	entries, err := os.ReadDir(a.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, err
}

// Close closes all vaults; nothing may be under way.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var err error
	for _, o := range a.open {
		<-o.ready
		if o.v != nil {
			err = errors.Join(err, o.v.Close())
		}
	}
	a.open = nil
	return err
}

// Save keeps a folder as a checkpoint; see the function Save. One that is kept
// already is no error: nothing is added then.
func (a *Archive) Save(ctx context.Context, p Place, folder, base string, about []byte) (size, added int64, err error) {
	o, key, err := a.find(ctx, p)
	if err != nil {
		return 0, 0, err
	}
	o.work.RLock()
	defer o.work.RUnlock()
	size, added, err = Save(ctx, o.v, p.ID, key, folder, base, about)
	if fault.CodeOf(err) == vault.CodeExists {
		return size, 0, nil
	}
	return size, added, err
}

func (a *Archive) read(ctx context.Context, p Place) (*opening, contents, error) {
	o, key, err := a.find(ctx, p)
	if err != nil {
		return nil, contents{}, err
	}
	c, err := read(ctx, o.v.Reader, p.ID, key)
	return o, c, err
}

// find gives the vault of a checkpoint and the key of its project.
func (a *Archive) find(ctx context.Context, p Place) (*opening, vault.Key, error) {
	o, err := a.vault(ctx, p.Tenant)
	if err != nil {
		return nil, vault.Key{}, err
	}
	key, err := a.Keys.Project(ctx, p.Project)
	return o, key, err
}

// About reads what was said of a checkpoint. One that is not there is
// fault.NotFound.
func (a *Archive) About(ctx context.Context, p Place) ([]byte, error) {
	_, c, err := a.read(ctx, p)
	return c.About, err
}

// Load lays a checkpoint out as a folder; see the function Load.
func (a *Archive) Load(ctx context.Context, p Place, folder string, hollow Hollow) error {
	o, key, err := a.find(ctx, p)
	if err != nil {
		return err
	}
	return Load(ctx, o.v.Reader, p.ID, key, folder, a.folder(p.Tenant), hollow)
}

// LateKey is what a pager needs to read the pages of a tenant's hollow dumps.
func (a *Archive) LateKey(ctx context.Context, tenant string) ([]byte, error) {
	key, err := a.Keys.Tenant(ctx, tenant)
	return key[:], err
}

// maxWhole bounds a file that is read into memory.
const maxWhole = 512 << 20

// File reads one file of a checkpoint. One that it has not is fault.NotFound.
func (a *Archive) File(ctx context.Context, p Place, name string) ([]byte, error) {
	o, c, err := a.read(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, f := range c.Files {
		if f.Name != name || f.Map != "" {
			continue
		}
		if f.Size > maxWhole {
			return nil, fault.New(fault.Exhausted, "too_large", "The file is too large to be read at once.")
		}
		b := make([]byte, (f.Size+vault.PageSize-1)/vault.PageSize*vault.PageSize)
		if err := o.v.Object(c.objects[f.Object]).ReadPages(ctx, 0, b); err != nil {
			return nil, err
		}
		return b[:f.Size], nil
	}
	return nil, fault.Newf(fault.NotFound, "not_kept", "This checkpoint has no %s.", name)
}

// Collect frees what no checkpoint of a tenant uses.
func (a *Archive) Collect(ctx context.Context, tenant string) (vault.Collected, error) {
	o, err := a.vault(ctx, tenant)
	if err != nil {
		return vault.Collected{}, err
	}
	o.work.Lock()
	defer o.work.Unlock()
	return o.v.GC(ctx)
}

// Verify reads all of a tenant's vault; deep: all pages too.
func (a *Archive) Verify(ctx context.Context, tenant string, deep bool) (vault.Report, error) {
	o, err := a.vault(ctx, tenant)
	if err != nil {
		return vault.Report{}, err
	}
	return o.v.Verify(ctx, deep)
}

// Stats are the sizes of a tenant's vault.
func (a *Archive) Stats(ctx context.Context, tenant string) (vault.Stats, error) {
	o, err := a.vault(ctx, tenant)
	if err != nil {
		return vault.Stats{}, err
	}
	s, err := o.v.Stats(ctx)
	if err != nil {
		return s, err
	}
	list, err := a.List(ctx, tenant)
	s.Manifests = len(list) // files are those of a checkpoint
	return s, err
}
