package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"cellar/server/hub"
)

const holdingColumns = "holder, container, kind, node, project, owner, configuration, price, why, by, boot, tick, began"

func scanHolding(r row, e *hub.Holding, more ...any) error {
	var began int64
	err := r.Scan(append([]any{&e.ID, &e.Holder, &e.Container, &e.Kind, &e.Node, &e.Project, &e.Owner, &e.Configuration, &e.Price, &e.Why, &e.By, &e.Boot, &e.Tick, &began}, more...)...)
	e.Began = time.UnixMilli(began).UTC()
	return err
}

// AddHolding implements hub.LedgerStore.
func (s *Store) AddHolding(ctx context.Context, e hub.Holding, before *hub.Release) (id int64, err error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return 0, classify(err)
	}
	defer tx.Rollback()
	if before != nil {
		if err := addRelease(ctx, tx, *before); err != nil {
			return 0, err
		}
	}
	err = tx.QueryRowContext(ctx, "INSERT INTO holdings ("+holdingColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) RETURNING id",
		e.Holder, e.Container, e.Kind, e.Node, e.Project, e.Owner, e.Configuration, e.Price, e.Why, e.By, e.Boot, e.Tick, e.Began.UnixMilli()).Scan(&id)
	if err != nil {
		return 0, classify(err)
	}
	return id, classify(tx.Commit())
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func addRelease(ctx context.Context, db execer, r hub.Release) error {
	_, err := db.ExecContext(ctx, "INSERT INTO releases (holding, ended, units, why, inferred) VALUES (?,?,?,?,?)", r.Holding, r.Ended.UnixMilli(), r.Units, r.Why, r.Inferred)
	return classify(err)
}

// AddRelease implements hub.LedgerStore.
func (s *Store) AddRelease(ctx context.Context, r hub.Release) error {
	return addRelease(ctx, s.write, r)
}

// OpenHoldings implements hub.LedgerStore.
func (s *Store) OpenHoldings(ctx context.Context) ([]hub.Holding, error) {
	return all(ctx, s, func(r row) (e hub.Holding, err error) { return e, scanHolding(r, &e) },
		"SELECT id, "+holdingColumns+" FROM holdings WHERE NOT EXISTS (SELECT 1 FROM releases WHERE holding = id) ORDER BY id")
}

// Released implements hub.LedgerStore.
func (s *Store) Released(ctx context.Context, q hub.LedgerQuery, fn func(hub.Entry) error) error {
	query, args := "SELECT h.id, h.holder, h.container, h.kind, h.node, h.project, h.owner, h.configuration, h.price, h.why, h.by, h.boot, h.tick, h.began, "+
		"r.ended, r.units, r.why, r.inferred FROM releases r JOIN holdings h ON h.id = r.holding WHERE r.ended > ? AND h.began < ?", []any{q.From.UnixMilli(), q.To.UnixMilli()}
	for _, one := range []struct{ column, value string }{{"h.project", q.Project}, {"h.owner", q.Owner}, {"h.holder", q.Holder}} {
		if one.value != "" {
			query, args = query+" AND "+one.column+" = ?", append(args, one.value)
		}
	}
	rows, err := s.read.QueryContext(ctx, query+" ORDER BY r.ended, r.holding", args...)
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e hub.Entry
		var ended int64
		if err := scanHolding(rows, &e.Holding, &ended, &e.Units, &e.Release.Why, &e.Inferred); err != nil {
			return err
		}
		e.Release.Holding, e.Ended = e.Holding.ID, time.UnixMilli(ended).UTC()
		if err := fn(e); err != nil {
			return err
		}
	}
	return rows.Err()
}

// HolderUnits implements hub.LedgerStore.
func (s *Store) HolderUnits(ctx context.Context) (map[string]hub.Units, error) {
	type sum struct {
		holder string
		units  hub.Units
	}
	list, err := all(ctx, s, func(r row) (u sum, err error) { return u, r.Scan(&u.holder, &u.units) },
		"SELECT k.id, SUM(r.units) FROM kernels k JOIN holdings h ON h.holder = k.id JOIN releases r ON r.holding = h.id GROUP BY k.id")
	out := map[string]hub.Units{}
	for _, u := range list {
		out[u.holder] = u.units
	}
	return out, err
}

// CheckLedger implements hub.LedgerStore. The database refuses what would be
// wrong as it is written; this is for one that was restored or repaired by hand.
func (s *Store) CheckLedger(ctx context.Context) (intervals int, wrong []string, err error) {
	if err := s.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM holdings").Scan(&intervals); err != nil {
		return 0, nil, classify(err)
	}
	for what, query := range map[string]string{
		"interval %d of %s begins before the one before it has ended": `SELECT id, holder FROM (
			SELECT h.id, h.holder, h.boot, h.tick, LAG(h.boot) OVER w AS boot_before, LAG(r.holding IS NULL) OVER w AS open_before, LAG(h.tick + r.ended - h.began) OVER w AS end_before
			FROM holdings h LEFT JOIN releases r ON r.holding = h.id WINDOW w AS (PARTITION BY h.holder ORDER BY h.id))
			WHERE open_before OR boot = boot_before AND end_before > tick LIMIT 100`,
		"interval %d of %s has units that are not its length times its price": `SELECT h.id, h.holder FROM holdings h JOIN releases r ON r.holding = h.id
			WHERE r.ended < h.began OR r.units <> (r.ended - h.began) * h.price LIMIT 100`,
		"the end of interval %d%s has no beginning": "SELECT holding, '' FROM releases WHERE holding NOT IN (SELECT id FROM holdings) LIMIT 100",
	} {
		list, err := all(ctx, s, func(r row) (string, error) {
			var id int64
			var holder string
			err := r.Scan(&id, &holder)
			return fmt.Sprintf(what, id, holder), err
		}, query)
		if err != nil {
			return intervals, nil, err
		}
		wrong = append(wrong, list...)
	}
	return intervals, wrong, nil
}

// limitTables are where limits of a kind of scope are.
var limitTables = map[string]string{hub.ScopeProject: "project_limits", hub.ScopeUser: "user_limits"}

// Limits implements hub.LimitStore.
func (s *Store) Limits(ctx context.Context) (map[hub.Scope]hub.Limits, error) {
	out := map[hub.Scope]hub.Limits{}
	for kind, table := range limitTables {
		_, err := all(ctx, s, func(r row) (none struct{}, err error) {
			of, l := hub.Scope{Kind: kind}, hub.Limits{}
			err = r.Scan(&of.ID, &l.Run, &l.Hour, &l.Day, &l.Month)
			out[of] = l
			return none, err
		}, "SELECT id, run, hour, day, month FROM "+table)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PutLimits implements hub.LimitStore.
func (s *Store) PutLimits(ctx context.Context, of hub.Scope, l hub.Limits) error {
	return s.exec(ctx, "INSERT INTO "+limitTables[of.Kind]+` (id, run, hour, day, month) VALUES (?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET run = excluded.run, hour = excluded.hour, day = excluded.day, month = excluded.month`, of.ID, l.Run, l.Hour, l.Day, l.Month)
}
