package store

import (
	"context"
	"time"

	"cellar/server/hub"
)

const userColumns = "id, name, admin, password_hash, created_at"

func scanUser(r row) (u hub.User, err error) {
	var created int64
	err = r.Scan(&u.ID, &u.Name, &u.Admin, &u.PasswordHash, &created)
	u.CreatedAt = at(created)
	return u, err
}

// AddUser implements hub.Store.
func (s *Store) AddUser(ctx context.Context, u hub.User) error {
	return s.exec(ctx, "INSERT INTO users ("+userColumns+") VALUES (?,?,?,?,?)", u.ID, u.Name, u.Admin, u.PasswordHash, ms(u.CreatedAt))
}

// UserByName implements hub.Store.
func (s *Store) UserByName(ctx context.Context, name string) (hub.User, error) {
	return one(ctx, s, scanUser, "SELECT "+userColumns+" FROM users WHERE name = ?", name)
}

// UserByID implements hub.Store.
func (s *Store) UserByID(ctx context.Context, id string) (hub.User, error) {
	return s.users.get(id, func() (hub.User, error) {
		return one(ctx, s, scanUser, "SELECT "+userColumns+" FROM users WHERE id = ?", id)
	})
}

// Users implements hub.Store.
func (s *Store) Users(ctx context.Context) ([]hub.User, error) {
	return all(ctx, s, scanUser, "SELECT "+userColumns+" FROM users ORDER BY created_at, name")
}

// SetPassword implements hub.Store.
func (s *Store) SetPassword(ctx context.Context, user, hash string, keep []byte) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer s.logins.forget()
	defer s.users.forget()
	defer tx.Rollback()
	res, err := tx.ExecContext(ctx, "UPDATE users SET password_hash = ? WHERE id = ?", hash, user)
	if err != nil {
		return classify(err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return errNotThere
	}
	// IS NOT: nothing kept, which is NULL, ends them all.
	if _, err := tx.ExecContext(ctx, "DELETE FROM logins WHERE user = ? AND hash IS NOT ?", user, keep); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

const tokenColumns = "id, user, hash, name, created_at, used_at"

func scanToken(r row) (t hub.Token, err error) {
	var created, used int64
	err = r.Scan(&t.ID, &t.User, &t.Hash, &t.Name, &created, &used)
	t.CreatedAt, t.UsedAt = at(created), at(used)
	return t, err
}

// AddToken implements hub.Store.
func (s *Store) AddToken(ctx context.Context, t hub.Token) error {
	return s.exec(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES (?,?,?,?,?,?)", t.ID, t.User, t.Hash, t.Name, ms(t.CreatedAt), ms(t.UsedAt))
}

// TokenByHash implements hub.Store; it notes the use, at most once a minute.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (hub.Token, error) {
	return s.tokens.get(string(hash), func() (hub.Token, error) {
		t, err := one(ctx, s, scanToken, "SELECT "+tokenColumns+" FROM tokens WHERE hash = ?", hash)
		if now := time.Now(); err == nil && now.Sub(t.UsedAt) > time.Minute {
			s.exec(ctx, "UPDATE tokens SET used_at = ? WHERE id = ?", ms(now), t.ID) // a note only: a full disk must not keep anyone out
		}
		return t, err
	})
}

// TokensOf implements hub.Store.
func (s *Store) TokensOf(ctx context.Context, user string) ([]hub.Token, error) {
	return all(ctx, s, scanToken, "SELECT "+tokenColumns+" FROM tokens WHERE user = ? ORDER BY created_at", user)
}

// DeleteToken implements hub.Store.
func (s *Store) DeleteToken(ctx context.Context, user, id string) error {
	defer s.tokens.forget()
	return s.exec(ctx, "DELETE FROM tokens WHERE user = ? AND id = ?", user, id)
}

// AddLogin implements hub.Store.
func (s *Store) AddLogin(ctx context.Context, l hub.Login) error {
	return s.exec(ctx, "INSERT INTO logins (hash, user, created_at, expires_at) VALUES (?,?,?,?)", l.Hash, l.User, ms(l.CreatedAt), ms(l.ExpiresAt))
}

// LoginByHash implements hub.Store; expired ones are not there.
func (s *Store) LoginByHash(ctx context.Context, hash []byte) (hub.Login, error) {
	return s.logins.get(string(hash), func() (hub.Login, error) {
		return one(ctx, s, func(r row) (l hub.Login, err error) {
			var created, expires int64
			err = r.Scan(&l.Hash, &l.User, &created, &expires)
			l.CreatedAt, l.ExpiresAt = at(created), at(expires)
			return l, err
		}, "SELECT hash, user, created_at, expires_at FROM logins WHERE hash = ? AND expires_at > ?", hash, time.Now().UnixMilli())
	})
}

// DeleteLogin implements hub.Store.
func (s *Store) DeleteLogin(ctx context.Context, hash []byte) error {
	defer s.logins.forget()
	return s.exec(ctx, "DELETE FROM logins WHERE hash = ? OR expires_at < ?", hash, time.Now().UnixMilli())
}
