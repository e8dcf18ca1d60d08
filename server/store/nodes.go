package store

import (
	"context"
	"fmt"

	"cellar/server/hub"
)

const nodeColumns = "id, project, name, current, last, paused, created_at"

func scanNode(r row) (n hub.Node, err error) {
	var created int64
	err = r.Scan(&n.ID, &n.Project, &n.Name, &n.Current, &n.Last, &n.Paused, &created)
	n.CreatedAt = at(created)
	return n, err
}

// PutNode implements hub.Store.
func (s *Store) PutNode(ctx context.Context, n hub.Node) error {
	defer s.nodes.forget()
	return s.exec(ctx, "UPDATE nodes SET name = ?, paused = ? WHERE id = ?", n.Name, n.Paused, n.ID)
}

// Node implements hub.Store.
func (s *Store) Node(ctx context.Context, id string) (hub.Node, error) {
	return s.nodes.get(id, func() (hub.Node, error) {
		return one(ctx, s, scanNode, "SELECT "+nodeColumns+" FROM nodes WHERE id = ?", id)
	})
}

// Nodes implements hub.Store; an empty project means all.
func (s *Store) Nodes(ctx context.Context, project string) ([]hub.Node, error) {
	return all(ctx, s, scanNode, "SELECT "+nodeColumns+" FROM nodes WHERE ? IN ('', project) ORDER BY created_at, id", project)
}

// DeleteNode implements hub.Store.
func (s *Store) DeleteNode(ctx context.Context, id string) error {
	defer s.nodes.forget()
	defer s.revisions.forget()
	return s.exec(ctx, "DELETE FROM nodes WHERE id = ?", id)
}

// SetCurrent implements hub.Store.
func (s *Store) SetCurrent(ctx context.Context, node string, number int) error {
	defer s.nodes.forget()
	return s.exec(ctx, "UPDATE nodes SET current = ? WHERE id = ? AND EXISTS (SELECT 1 FROM revisions WHERE node = nodes.id AND number = ?)", number, node, number)
}

const revisionColumns = "node, number, files, checkpoint, configuration, notebook, cell, source, inputs, outputs, author, note, created_at"

func scanRevision(r row) (v hub.Revision, err error) {
	var created int64
	var inputs, outputs string
	err = r.Scan(&v.Node, &v.Number, &v.Files, &v.Checkpoint, &v.Configuration, &v.Notebook, &v.Cell, &v.Source, &inputs, &outputs, &v.Author, &v.Note, &created)
	v.Inputs, v.Outputs, v.CreatedAt = []byte(inputs), []byte(outputs), at(created)
	return v, err
}

// AddRevision implements hub.Store.
func (s *Store) AddRevision(ctx context.Context, n hub.Node, r hub.Revision, first ...hub.Key) error {
	defer s.nodes.forget()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	if r.Number == 1 {
		_, err = tx.ExecContext(ctx, "INSERT INTO nodes ("+nodeColumns+") VALUES (?,?,?,1,1,?,?)", n.ID, n.Project, n.Name, n.Paused, ms(n.CreatedAt))
	} else {
		var id string
		err = tx.QueryRowContext(ctx, "UPDATE nodes SET current = ?, last = ? WHERE id = ? AND last < ? RETURNING id", r.Number, r.Number, n.ID, r.Number).Scan(&id)
	}
	if err != nil {
		return classify(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO revisions ("+revisionColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
		n.ID, r.Number, r.Files, r.Checkpoint, r.Configuration, r.Notebook, r.Cell, r.Source, string(r.Inputs), string(r.Outputs), r.Author, r.Note, ms(r.CreatedAt)); err != nil {
		return classify(err)
	}
	for _, k := range first {
		if err := putKey(ctx, tx, k); err != nil {
			return err
		}
	}
	return classify(tx.Commit())
}

// Revision implements hub.Store.
func (s *Store) Revision(ctx context.Context, node string, number int) (hub.Revision, error) {
	return s.revisions.get(fmt.Sprint(number, "@", node), func() (hub.Revision, error) {
		return one(ctx, s, scanRevision, "SELECT "+revisionColumns+" FROM revisions WHERE node = ? AND number = ?", node, number)
	})
}

// Revisions implements hub.Store.
func (s *Store) Revisions(ctx context.Context, node string) ([]hub.Revision, error) {
	return all(ctx, s, scanRevision, "SELECT "+revisionColumns+" FROM revisions WHERE ? IN ('', node) ORDER BY node, number DESC", node)
}

// DeleteRevision implements hub.Store.
func (s *Store) DeleteRevision(ctx context.Context, node string, number int) error {
	defer s.revisions.forget()
	return s.exec(ctx, "DELETE FROM revisions WHERE node = ? AND number = ? AND number <> (SELECT current FROM nodes WHERE id = node)", node, number)
}
