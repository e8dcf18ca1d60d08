package store

import (
	"context"

	"cellar/server/hub"
)

const checkpointColumns = "id, project, kernel, parent, name, kind, notebook, size, added, image, parts, seq, pinned, created_at, stored"

func scanCheckpoint(r row) (c hub.Checkpoint, err error) {
	var created int64
	err = r.Scan(&c.ID, &c.Project, &c.Kernel, &c.Parent, &c.Name, &c.Kind, &c.Notebook, &c.Size, &c.Added, &c.Image, &c.Parts, &c.Seq, &c.Pinned, &created, &c.Stored)
	c.CreatedAt = at(created)
	return c, err
}

// PutCheckpoint implements hub.Store.
func (s *Store) PutCheckpoint(ctx context.Context, c hub.Checkpoint) error {
	return s.exec(ctx, "INSERT INTO checkpoints ("+checkpointColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET name=excluded.name, kind=excluded.kind, pinned=excluded.pinned`,
		c.ID, c.Project, c.Kernel, c.Parent, c.Name, c.Kind, c.Notebook, c.Size, c.Added, c.Image, c.Parts, c.Seq, c.Pinned, ms(c.CreatedAt), c.Stored)
}

// Checkpoint implements hub.Store.
func (s *Store) Checkpoint(ctx context.Context, project, id string) (hub.Checkpoint, error) {
	return one(ctx, s, scanCheckpoint, "SELECT "+checkpointColumns+" FROM checkpoints WHERE project = ? AND id = ?", project, id)
}

// Checkpoints implements hub.Store, newest first; an empty project means all.
func (s *Store) Checkpoints(ctx context.Context, project string) ([]hub.Checkpoint, error) {
	return all(ctx, s, scanCheckpoint, "SELECT "+checkpointColumns+" FROM checkpoints WHERE ? IN ('', project) ORDER BY created_at DESC, id", project)
}

// StoredCheckpoint implements hub.Store.
func (s *Store) StoredCheckpoint(ctx context.Context, id string, added int64) error {
	return s.exec(ctx, "UPDATE checkpoints SET stored = 1, added = ? WHERE id = ?", added, id)
}

// DeleteCheckpoint implements hub.Store.
// What came from it comes from what it came from, from then on.
func (s *Store) DeleteCheckpoint(ctx context.Context, id string) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	var parent string
	if err := tx.QueryRowContext(ctx, "DELETE FROM checkpoints WHERE id = ? RETURNING parent", id).Scan(&parent); err != nil {
		return classify(err)
	}
	for _, change := range []string{"UPDATE checkpoints SET parent = ? WHERE parent = ?", "UPDATE kernels SET base = ? WHERE base = ?"} {
		if _, err := tx.ExecContext(ctx, change, parent, id); err != nil {
			return classify(err)
		}
	}
	return classify(tx.Commit())
}
