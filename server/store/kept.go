package store

import (
	"context"
	"encoding/json"

	"cellar/server/hub"
)

const checkpointColumns = "id, project, kernel, parent, name, kind, notebook, size, added, image, parts, seq, pinned, created_at, stored, files, origin, cell"

func scanCheckpoint(r row) (c hub.Checkpoint, err error) {
	var created int64
	var files, after string
	err = r.Scan(&c.ID, &c.Project, &c.Kernel, &c.Parent, &c.Name, &c.Kind, &c.Notebook, &c.Size, &c.Added, &c.Image, &c.Parts, &c.Seq, &c.Pinned, &created, &c.Stored, &files, &c.Origin, &after)
	c.CreatedAt = at(created)
	if err == nil && files != "" {
		err = json.Unmarshal([]byte(files), &c.Files)
	}
	if err == nil && after != "" {
		err = json.Unmarshal([]byte(after), &c.After)
	}
	return c, err
}

// PutCheckpoint implements hub.Store.
func (s *Store) PutCheckpoint(ctx context.Context, c hub.Checkpoint) error {
	files, err := filesText(c.Files)
	if err != nil {
		return err
	}
	return s.exec(ctx, "INSERT INTO checkpoints ("+checkpointColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET name=excluded.name, kind=excluded.kind, pinned=excluded.pinned`,
		c.ID, c.Project, c.Kernel, c.Parent, c.Name, c.Kind, c.Notebook, c.Size, c.Added, c.Image, c.Parts, c.Seq, c.Pinned, ms(c.CreatedAt), c.Stored, files, c.Origin, afterText(c.After))
}

// filesText is what is kept of a checkpoint's files as it stands in its row.
func filesText(f hub.FilesKept) (string, error) {
	if f == (hub.FilesKept{}) {
		return "", nil
	}
	b, err := json.Marshal(f)
	return string(b), err
}

// FiledCheckpoint implements hub.Store.
func (s *Store) FiledCheckpoint(ctx context.Context, id string, f hub.FilesKept) error {
	files, err := filesText(f)
	if err != nil {
		return err
	}
	return s.exec(ctx, "UPDATE checkpoints SET files = ? WHERE id = ?", files, id)
}

// Checkpoint implements hub.Store.
func (s *Store) Checkpoint(ctx context.Context, project, id string) (hub.Checkpoint, error) {
	return one(ctx, s, scanCheckpoint, "SELECT "+checkpointColumns+" FROM checkpoints WHERE project = ? AND id = ?", project, id)
}

// Checkpoints implements hub.Store, newest first; an empty project means all.
func (s *Store) Checkpoints(ctx context.Context, project string) ([]hub.Checkpoint, error) {
	return all(ctx, s, scanCheckpoint, "SELECT "+checkpointColumns+" FROM checkpoints WHERE ? IN ('', project) ORDER BY created_at DESC, id", project)
}

func afterText(a hub.After) string {
	if a == (hub.After{}) {
		return ""
	}
	b, _ := json.Marshal(a)
	return string(b)
}

// AddOrigin implements hub.Store.
func (s *Store) AddOrigin(ctx context.Context, o hub.Origin) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = s.write.ExecContext(ctx, "INSERT INTO origins (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", o.ID, string(b))
	return classify(err)
}

// Origins implements hub.Store.
func (s *Store) Origins(ctx context.Context) (map[string]hub.Origin, error) {
	list, err := all(ctx, s, func(r row) (o hub.Origin, err error) {
		var id, body string
		if err = r.Scan(&id, &body); err == nil {
			err = json.Unmarshal([]byte(body), &o)
		}
		o.ID = id
		return o, err
	}, "SELECT id, body FROM origins")
	out := map[string]hub.Origin{}
	for _, o := range list {
		out[o.ID] = o
	}
	return out, err
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
