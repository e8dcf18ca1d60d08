package checkpoint

import (
	"context"
	"errors"
	"strings"

	"cellar/checkpoint/tree"
	"cellar/checkpoint/vault"
	"cellar/internal/fault"
)

// FilesPrefix begins the name under which a vault has the files of a checkpoint:
// they are stored at once, the rest of it may be later.
const FilesPrefix = "files."

// SaveFiles keeps folders of files as those of a checkpoint. base is a checkpoint
// whose files they resemble; empty: none. Of a checkpoint whose files are kept
// already nothing is read: it is answered what there is.
//
// It does not wait for a collection, which may run beside it: the files would be
// of a later moment.
func (a *Archive) SaveFiles(ctx context.Context, p Place, base string, t tree.Taking) (tree.Summary, int64, error) {
	o, key, err := a.find(ctx, p)
	if err != nil {
		return tree.Summary{}, 0, err
	}
	if base != "" {
		base = FilesPrefix + base
	}
	sum, added, err := tree.Save(ctx, o.v, FilesPrefix+p.ID, key, base, t)
	if fault.CodeOf(err) == vault.CodeExists {
		s, err := tree.Open(ctx, o.v.Reader, FilesPrefix+p.ID, key)
		if err != nil {
			return sum, 0, err
		}
		return s.Summary(), 0, nil
	}
	return sum, added, err
}

// Files opens the files of a checkpoint. One that has none is fault.NotFound.
func (a *Archive) Files(ctx context.Context, p Place) (*tree.Snapshot, error) {
	o, key, err := a.find(ctx, p)
	if err != nil {
		return nil, err
	}
	return tree.Open(ctx, o.v.Reader, FilesPrefix+p.ID, key)
}

// Delete forgets a checkpoint and its files; their pages go with the next
// collection.
func (a *Archive) Delete(ctx context.Context, p Place) error {
	o, err := a.vault(ctx, p.Tenant)
	if err != nil {
		return err
	}
	return errors.Join(o.v.Delete(ctx, p.ID), o.v.Delete(ctx, FilesPrefix+p.ID))
}

// List answers the checkpoints of a tenant, also those of which only the files
// are there.
func (a *Archive) List(ctx context.Context, tenant string) ([]string, error) {
	o, err := a.vault(ctx, tenant)
	if err != nil {
		return nil, err
	}
	names, err := o.v.List(ctx)
	var out []string
	seen := map[string]bool{}
	for _, name := range names {
		id := strings.TrimPrefix(name, FilesPrefix)
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out, err
}
