package store

import (
	"context"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
)

// PutWebhook implements hub.Store.
func (s *Store) PutWebhook(ctx context.Context, w hub.Webhook) error {
	return s.exec(ctx, `INSERT INTO webhooks (project, url, secret, minimal, only_failures, created_at, updated_at) VALUES (?,?,?,?,?,?,?)
		ON CONFLICT (project) DO UPDATE SET url=excluded.url, secret=excluded.secret, minimal=excluded.minimal,
		only_failures=excluded.only_failures, updated_at=excluded.updated_at`,
		w.Project, w.URL, w.Secret, w.Minimal.Milliseconds(), w.OnlyFailures, ms(w.CreatedAt), ms(w.UpdatedAt))
}

// Webhooks implements hub.Store.
func (s *Store) Webhooks(ctx context.Context) ([]hub.Webhook, error) {
	return all(ctx, s, func(r row) (w hub.Webhook, err error) {
		var minimal, created, updated int64
		err = r.Scan(&w.Project, &w.URL, &w.Secret, &minimal, &w.OnlyFailures, &created, &updated)
		w.Minimal, w.CreatedAt, w.UpdatedAt = time.Duration(minimal)*time.Millisecond, at(created), at(updated)
		return w, err
	}, "SELECT project, url, secret, minimal, only_failures, created_at, updated_at FROM webhooks ORDER BY project")
}

// DeleteWebhook implements hub.Store.
func (s *Store) DeleteWebhook(ctx context.Context, project string) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	res, err := tx.ExecContext(ctx, "DELETE FROM webhooks WHERE project = ?", project)
	if err != nil {
		return classify(err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return errNotThere
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM deliveries WHERE project = ? AND state = 'pending'", project); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

const deliveryColumns = "id, project, state, body, attempts, due, created_at, at, status, error"

func scanDelivery(r row) (d hub.Delivery, err error) {
	var due, created, last int64
	err = r.Scan(&d.ID, &d.Project, &d.State, &d.Body, &d.Attempts, &due, &created, &last, &d.Status, &d.Error)
	d.Due, d.CreatedAt, d.At = at(due), at(created), at(last)
	return d, err
}

// AddDelivery implements hub.Store.
func (s *Store) AddDelivery(ctx context.Context, d hub.Delivery, limit int) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify(err)
	}
	defer tx.Rollback()
	var waiting int
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM deliveries WHERE project = ? AND state = 'pending'", d.Project).Scan(&waiting); err != nil {
		return classify(err)
	}
	if waiting >= limit && d.State == hub.DeliveryPending {
		return fault.Newf(fault.Exhausted, "too_many_deliveries", "%d messages of this project's webhook wait already.", waiting)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO deliveries ("+deliveryColumns+") VALUES (?,?,?,?,?,?,?,?,?,?)",
		d.ID, d.Project, d.State, d.Body, d.Attempts, ms(d.Due), ms(d.CreatedAt), ms(d.At), d.Status, d.Error); err != nil {
		return classify(err)
	}
	return classify(tx.Commit())
}

// PutDelivery implements hub.Store.
func (s *Store) PutDelivery(ctx context.Context, d hub.Delivery) error {
	return s.exec(ctx, "UPDATE deliveries SET state = ?, attempts = ?, due = ?, at = ?, status = ?, error = ? WHERE id = ?",
		d.State, d.Attempts, ms(d.Due), ms(d.At), d.Status, d.Error, d.ID)
}

// PendingDeliveries implements hub.Store. Of each project the first is enough:
// they go one after the other.
func (s *Store) PendingDeliveries(ctx context.Context) ([]hub.Delivery, error) {
	return all(ctx, s, scanDelivery, "SELECT "+deliveryColumns+` FROM (
		SELECT *, ROW_NUMBER() OVER (PARTITION BY project ORDER BY due, created_at, id) AS place FROM deliveries WHERE state = 'pending'
	) WHERE place = 1 ORDER BY due, id LIMIT 1000`)
}

// LastDelivery implements hub.Store.
func (s *Store) LastDelivery(ctx context.Context, project string) (hub.Delivery, error) {
	return one(ctx, s, scanDelivery, "SELECT id, project, state, x'', attempts, due, created_at, at, status, error FROM deliveries WHERE project = ? AND state <> 'skipped' ORDER BY created_at DESC, id LIMIT 1", project)
}

// PruneDeliveries implements hub.Store.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM deliveries WHERE created_at < ?", ms(before))
	return classify(err)
}
