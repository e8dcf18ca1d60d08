package store

import (
	"context"
	"database/sql"
	"encoding/json"

	"cellar/internal/fault"
	"cellar/server/hub"
)

const settingColumns = "number, targets, guard, public, author, reason, s.created_at"

// scanSetting reads a setting after what else the row has.
func scanSetting(r row, v *hub.Setting, before ...any) error {
	var created int64
	var targets, guard []byte
	if err := r.Scan(append(before, &v.Number, &targets, &guard, &v.Public, &v.Author, &v.Reason, &created)...); err != nil {
		return err
	}
	v.At = at(created)
	if err := json.Unmarshal(targets, &v.Targets); err != nil {
		return err
	}
	return json.Unmarshal(guard, &v.Guard)
}

func scanAlias(r row) (a hub.Alias, err error) {
	var created int64
	err = scanSetting(r, &a.Setting, &a.ID, &a.Project, &a.Name, &created)
	a.CreatedAt = at(created)
	return a, err
}

const aliasRows = "SELECT a.id, a.project, a.name, a.created_at, " + settingColumns + " FROM aliases a JOIN settings s ON s.alias = a.id AND s.number = a.current "

// Alias implements hub.Store.
func (s *Store) Alias(ctx context.Context, id string) (hub.Alias, error) {
	return s.aliases.get(id, func() (hub.Alias, error) { return one(ctx, s, scanAlias, aliasRows+"WHERE a.id = ?", id) })
}

// Aliases implements hub.Store; an empty project means all.
func (s *Store) Aliases(ctx context.Context, project string) ([]hub.Alias, error) {
	return all(ctx, s, scanAlias, aliasRows+"WHERE ? IN ('', project) ORDER BY a.name, a.id", project)
}

// Settings implements hub.Store.
func (s *Store) Settings(ctx context.Context, alias string) ([]hub.Setting, error) {
	return all(ctx, s, func(r row) (v hub.Setting, err error) {
		err = scanSetting(r, &v)
		return v, err
	}, "SELECT "+settingColumns+" FROM settings s WHERE alias = ? ORDER BY number DESC", alias)
}

// AddSetting implements hub.Store.
func (s *Store) AddSetting(ctx context.Context, a hub.Alias, keep int, first ...hub.Key) error {
	targets, err := json.Marshal(a.Targets)
	if err != nil {
		return err
	}
	guard, err := json.Marshal(a.Guard)
	if err != nil {
		return err
	}
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer s.aliases.forget()
	defer tx.Rollback()
	if a.Number == 1 {
		_, err = tx.ExecContext(ctx, "INSERT INTO aliases (id, project, name, current, created_at) VALUES (?,?,?,1,?)", a.ID, a.Project, a.Name, ms(a.CreatedAt))
	} else {
		var id string
		err = tx.QueryRowContext(ctx, "UPDATE aliases SET current = ? WHERE id = ? AND current = ? RETURNING id", a.Number, a.ID, a.Number-1).Scan(&id)
	}
	if err != nil {
		return classify(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO settings (alias, number, targets, guard, public, author, reason, created_at) VALUES (?,?,?,?,?,?,?,?)",
		a.ID, a.Number, string(targets), string(guard), a.Public, a.Author, a.Reason, ms(a.At)); err != nil {
		return classify(err)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM settings WHERE alias = ? AND number < ?", a.ID, a.Number-keep); err != nil {
		return classify(err)
	}
	for _, k := range first {
		if err := putKey(ctx, tx, k); err != nil {
			return err
		}
	}
	return classify(tx.Commit())
}

// DeleteAlias implements hub.Store.
func (s *Store) DeleteAlias(ctx context.Context, id string) error {
	defer s.aliases.forget()
	return s.exec(ctx, "DELETE FROM aliases WHERE id = ?", id)
}

const keyColumns = "id, project, name, hash, old_hash, old_until, scope, rate, quota, day, calls, used_at, author, created_at"

func scanKey(r row) (k hub.Key, err error) {
	var until, used, created int64
	var scope []byte
	if err := r.Scan(&k.ID, &k.Project, &k.Name, &k.Hash, &k.OldHash, &until, &scope, &k.Allowance.Rate, &k.Allowance.Quota, &k.Day, &k.Calls, &used, &k.Author, &created); err != nil {
		return k, err
	}
	k.OldUntil, k.UsedAt, k.CreatedAt = at(until), at(used), at(created)
	return k, json.Unmarshal(scope, &k.Scope)
}

// PutCallKey implements hub.Store. What a key was used for is UseCallKeys' to write.
func (s *Store) PutCallKey(ctx context.Context, k hub.Key, limit int) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	if err := putKey(ctx, tx, k); err != nil {
		return err
	}
	n := 0
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM call_keys WHERE project = ?", k.Project).Scan(&n); err != nil {
		return classify(err)
	}
	if n > limit {
		return fault.Newf(fault.Exhausted, "too_many_keys", "A project can have %d keys.", limit)
	}
	return classify(tx.Commit())
}

// CallKeys implements hub.Store.
func (s *Store) CallKeys(ctx context.Context) ([]hub.Key, error) {
	return all(ctx, s, scanKey, "SELECT "+keyColumns+" FROM call_keys ORDER BY created_at, id")
}

// UseCallKeys implements hub.Store.
func (s *Store) UseCallKeys(ctx context.Context, list []hub.Key) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	for _, k := range list {
		if _, err := tx.ExecContext(ctx, "UPDATE call_keys SET day = ?, calls = ?, used_at = ? WHERE id = ?", k.Day, k.Calls, ms(k.UsedAt), k.ID); err != nil {
			return classify(err)
		}
	}
	return classify(tx.Commit())
}

// DeleteCallKey implements hub.Store.
func (s *Store) DeleteCallKey(ctx context.Context, id string) error {
	return s.exec(ctx, "DELETE FROM call_keys WHERE id = ?", id)
}

func putKey(ctx context.Context, tx *sql.Tx, k hub.Key) error {
	scope, err := json.Marshal(k.Scope)
	if err != nil {
		return err
	}
	if k.OldHash == nil {
		k.OldHash = []byte{}
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO call_keys ("+keyColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET name=excluded.name, hash=excluded.hash, old_hash=excluded.old_hash, old_until=excluded.old_until, scope=excluded.scope,
		rate=excluded.rate, quota=excluded.quota`,
		k.ID, k.Project, k.Name, k.Hash, k.OldHash, ms(k.OldUntil), string(scope), k.Allowance.Rate, k.Allowance.Quota, k.Day, k.Calls, ms(k.UsedAt), k.Author, ms(k.CreatedAt))
	return classify(err)
}
