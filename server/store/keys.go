package store

import (
	"context"
)

// Key implements checkpoint.Wrapped.
func (s *Store) Key(ctx context.Context, kind, id string) ([]byte, error) {
	return one(ctx, s, func(r row) (b []byte, err error) { return b, r.Scan(&b) }, "SELECT sealed FROM keys WHERE kind = ? AND id = ?", kind, id)
}

// PutKey implements checkpoint.Wrapped.
func (s *Store) PutKey(ctx context.Context, kind, id string, sealed []byte) error {
	return s.exec(ctx, "INSERT INTO keys (kind, id, sealed) VALUES (?,?,?)", kind, id, sealed)
}

// EachKey implements checkpoint.Wrapped.
func (s *Store) EachKey(ctx context.Context, fn func(kind, id string, sealed []byte) error) error {
	list, err := all(ctx, s, func(r row) (k sealedKey, err error) { return k, r.Scan(&k.kind, &k.id, &k.sealed) }, "SELECT kind, id, sealed FROM keys")
	for _, k := range list {
		if err == nil {
			err = fn(k.kind, k.id, k.sealed)
		}
	}
	return err
}

type sealedKey struct {
	kind, id string
	sealed   []byte
}

// ReplaceKeys implements checkpoint.Wrapped: all of them or none.
func (s *Store) ReplaceKeys(ctx context.Context, change func(kind, id string, sealed []byte) ([]byte, error)) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	rows, err := tx.QueryContext(ctx, "SELECT kind, id, sealed FROM keys")
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	var list []sealedKey
	for rows.Next() {
		var k sealedKey
		if err := rows.Scan(&k.kind, &k.id, &k.sealed); err != nil {
			return err
		}
		list = append(list, k)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, k := range list {
		sealed, err := change(k.kind, k.id, k.sealed)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE keys SET sealed = ? WHERE kind = ? AND id = ?", sealed, k.kind, k.id); err != nil {
			return classify(err)
		}
	}
	return classify(tx.Commit())
}
