package checkpoint

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
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
}

// Archive keeps checkpoints: a vault for each tenant, in a folder of its own.
type Archive struct {
	Dir  string
	Keys Keys

	mu   sync.Mutex
	open map[string]*opening
}

// opening is a vault that is open, or being opened.
type opening struct {
	ready chan struct{}
	v     *vault.Vault
	key   vault.Key
	err   error
}

// cacheOf a vault in the hub: the pages that matter are read by pagers.
const cacheOf = 8 << 20

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
		o.v, o.key, o.err = a.openVault(context.WithoutCancel(ctx), tenant)
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

func (a *Archive) openVault(ctx context.Context, tenant string) (*vault.Vault, vault.Key, error) {
	key, err := a.Keys.Tenant(ctx, tenant)
	if err != nil {
		return nil, key, err
	}
	store, err := blob.OpenDisk(a.folder(tenant))
	if err != nil {
		return nil, key, err
	}
	v, err := vault.Open(ctx, store, key, vault.Options{Index: filepath.Join(a.Dir, "index-"+tenant), Cache: cacheOf})
	return v, key, err
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

// Save keeps a folder as a checkpoint; see the function Save.
func (a *Archive) Save(ctx context.Context, p Place, folder, base string, about []byte) (size, added int64, err error) {
	o, err := a.vault(ctx, p.Tenant)
	if err != nil {
		return 0, 0, err
	}
	key, err := a.Keys.Project(ctx, p.Project)
	if err != nil {
		return 0, 0, err
	}
	return Save(ctx, o.v, p.ID, key, folder, base, about)
}

func (a *Archive) read(ctx context.Context, p Place) (*opening, contents, error) {
	o, err := a.vault(ctx, p.Tenant)
	if err != nil {
		return nil, contents{}, err
	}
	key, err := a.Keys.Project(ctx, p.Project)
	if err != nil {
		return nil, contents{}, err
	}
	c, err := read(ctx, o.v.Reader, p.ID, key)
	return o, c, err
}

// About reads what was said of a checkpoint. One that is not there is
// fault.NotFound.
func (a *Archive) About(ctx context.Context, p Place) ([]byte, error) {
	_, c, err := a.read(ctx, p)
	return c.About, err
}

// Load lays out a part of a checkpoint; see Loading. From is filled in here.
func (a *Archive) Load(ctx context.Context, p Place, l Loading) error {
	o, c, err := a.read(ctx, p)
	if err != nil {
		return err
	}
	l.From = From{Store: a.folder(p.Tenant), Tenant: p.Tenant}
	return load(ctx, o.v.Reader, c, l)
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

// Delete forgets a checkpoint; its pages go with the next collection.
func (a *Archive) Delete(ctx context.Context, p Place) error {
	o, err := a.vault(ctx, p.Tenant)
	if err != nil {
		return err
	}
	return o.v.Delete(ctx, p.ID)
}

// List answers the checkpoints of a tenant.
func (a *Archive) List(ctx context.Context, tenant string) ([]string, error) {
	o, err := a.vault(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return o.v.List(ctx)
}

// Collect frees what no checkpoint of a tenant uses.
func (a *Archive) Collect(ctx context.Context, tenant string) (vault.Collected, error) {
	o, err := a.vault(ctx, tenant)
	if err != nil {
		return vault.Collected{}, err
	}
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
	return o.v.Stats(ctx)
}

// Secret is what a pager of a dump is told on its standard input; nil when no
// page of it comes from a vault.
func (a *Archive) Secret(ctx context.Context, dump string) ([]byte, error) {
	from, err := ReadFrom(dump)
	if from == nil || err != nil {
		return nil, err
	}
	o, err := a.vault(ctx, from.Tenant)
	if err != nil {
		return nil, err
	}
	return json.Marshal(secret{hex.EncodeToString(o.key[:])})
}

type secret struct {
	Tenant string `json:"tenant"`
}

// ReadSecret is the pager's side of Secret.
func ReadSecret(r io.Reader) (key vault.Key, err error) {
	var s secret
	if err := json.NewDecoder(io.LimitReader(r, 4096)).Decode(&s); err != nil {
		return key, err
	}
	b, err := hex.DecodeString(s.Tenant)
	if err != nil || len(b) != len(key) {
		return key, errors.New("that is no key")
	}
	copy(key[:], b)
	return key, nil
}
