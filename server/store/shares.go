package store

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/mattn/go-sqlite3"

	"cellar/internal/fault"
	"cellar/server/hub"
)

const shareColumns = "id, project, checkpoint, hash, name, notebook, audience, people, copies, author, created_at, expires_at, opened_at, opened"

func scanShare(r row) (s hub.Share, err error) {
	var created, expires, opened int64
	var checkpoint *string
	var people string
	err = r.Scan(&s.ID, &s.Project, &checkpoint, &s.Hash, &s.Name, &s.Notebook, &s.Audience, &people, &s.Copies, &s.Author, &created, &expires, &opened, &s.Opened)
	s.CreatedAt, s.ExpiresAt, s.OpenedAt = at(created), at(expires), at(opened)
	if checkpoint != nil {
		s.Checkpoint = *checkpoint
	}
	if err == nil {
		err = json.Unmarshal([]byte(people), &s.People)
	}
	return s, err
}

// AddShare implements hub.Store.
func (s *Store) AddShare(ctx context.Context, v hub.Share, limit int) error {
	people, err := json.Marshal(append([]string{}, v.People...))
	if err != nil {
		return err
	}
	var checkpoint any
	if v.Checkpoint != "" {
		checkpoint = v.Checkpoint
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM shares WHERE project = ?", v.Project).Scan(&n); err != nil {
		return classify(err)
	}
	if n >= limit {
		return fault.Newf(fault.Exhausted, "too_many_shares", "The project has %d links, which is the most there can be. Revoke some.", n)
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO shares ("+shareColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		v.ID, v.Project, checkpoint, v.Hash, v.Name, v.Notebook, v.Audience, string(people), v.Copies, v.Author, ms(v.CreatedAt), ms(v.ExpiresAt), ms(v.OpenedAt), v.Opened)
	var se sqlite3.Error
	if errors.As(err, &se) && se.ExtendedCode == sqlite3.ErrConstraintForeignKey {
		return errNotThere // deleted meanwhile
	}
	if err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

// Share implements hub.Store.
func (s *Store) Share(ctx context.Context, id string) (hub.Share, error) {
	return one(ctx, s, scanShare, "SELECT "+shareColumns+" FROM shares WHERE id = ?", id)
}

// ShareByHash implements hub.Store.
func (s *Store) ShareByHash(ctx context.Context, hash []byte) (hub.Share, error) {
	return one(ctx, s, scanShare, "SELECT "+shareColumns+" FROM shares WHERE hash = ?", hash)
}

// Shares implements hub.Store.
func (s *Store) Shares(ctx context.Context, project string) ([]hub.Share, error) {
	return all(ctx, s, scanShare, "SELECT "+shareColumns+" FROM shares WHERE project = ? ORDER BY created_at DESC, id", project)
}

// SharesFor implements hub.Store.
func (s *Store) SharesFor(ctx context.Context, user string) ([]hub.Share, error) {
	return all(ctx, s, scanShare, "SELECT "+shareColumns+" FROM shares WHERE audience = ? AND EXISTS (SELECT 1 FROM json_each(people) WHERE value = ?) ORDER BY created_at DESC, id LIMIT 500", hub.AudienceNamed, user)
}

// OpenedShares implements hub.Store.
func (s *Store) OpenedShares(ctx context.Context, list map[string]hub.Opens) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	for id, o := range list {
		if _, err := tx.ExecContext(ctx, "UPDATE shares SET opened = opened + ?, opened_at = max(opened_at, ?) WHERE id = ?", o.Opened, ms(o.OpenedAt), id); err != nil {
			return classify(err)
		}
	}
	return classify(tx.Commit())
}

// below matches notebooks at a path or below it, of no checkpoint: those have the
// name of their moment. substr, not LIKE: a path may have its wildcards.
const below = "project = ? AND checkpoint IS NULL AND (notebook = ? OR substr(notebook, 1, length(?)) = ?)"

// MoveShares implements hub.Store.
func (s *Store) MoveShares(ctx context.Context, project, from, to string) error {
	folder := strings.TrimSuffix(from, "/") + "/"
	return noneIsFine(s.exec(ctx, "UPDATE shares SET notebook = ? || substr(notebook, length(?) + 1) WHERE "+below, to, from, project, from, folder, folder))
}

// DropShares implements hub.Store.
func (s *Store) DropShares(ctx context.Context, project, path string) error {
	folder := strings.TrimSuffix(path, "/") + "/"
	return noneIsFine(s.exec(ctx, "DELETE FROM shares WHERE "+below, project, path, folder, folder))
}

func noneIsFine(err error) error {
	if errors.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// DeleteShare implements hub.Store.
func (s *Store) DeleteShare(ctx context.Context, project, id string) error {
	return s.exec(ctx, "DELETE FROM shares WHERE project = ? AND id = ?", project, id)
}
