package store

import (
	"context"
	"slices"
	"time"

	"cellar/kernel"
	"cellar/server/hub"
)

const projectColumns = "id, name, owner, uid_base, created_at, autosave, idle, foreign_state"

func scanProject(r row) (p hub.Project, err error) {
	var created, idle int64
	err = r.Scan(&p.ID, &p.Name, &p.Owner, &p.UIDBase, &created, &p.Autosave, &idle, &p.Foreign)
	p.CreatedAt, p.Idle = at(created), time.Duration(idle)*time.Second
	return p, err
}

// firstUID is where the projects' ranges of user IDs begin: above what
// distributions hand out to people (/etc/subuid starts at 100000).
const firstUID = 1 << 28

// AddProject implements hub.Store. The range of user IDs is never given twice.
func (s *Store) AddProject(ctx context.Context, p hub.Project) (hub.Project, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return p, classify(err)
	}
	defer tx.Rollback()
	if err := tx.QueryRowContext(ctx, "UPDATE ranges SET last_uid_base = MAX(last_uid_base + 65536, ?) RETURNING last_uid_base", firstUID).Scan(&p.UIDBase); err != nil {
		return p, classify(err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO projects ("+projectColumns+") VALUES (?,?,?,?,?,?,?,?)", p.ID, p.Name, p.Owner, p.UIDBase, ms(p.CreatedAt), p.Autosave, int64(p.Idle/time.Second), p.Foreign); err != nil {
		return p, classify(err)
	}
	return p, classify(tx.Commit())
}

// Project implements hub.Store.
func (s *Store) Project(ctx context.Context, id string) (hub.Project, error) {
	return s.projects.get(id, func() (hub.Project, error) {
		return one(ctx, s, scanProject, "SELECT "+projectColumns+" FROM projects WHERE id = ?", id)
	})
}

// Projects implements hub.Store.
func (s *Store) Projects(ctx context.Context) ([]hub.Project, error) {
	return all(ctx, s, scanProject, "SELECT "+projectColumns+" FROM projects ORDER BY created_at, id")
}

// PutProject implements hub.Store.
func (s *Store) PutProject(ctx context.Context, p hub.Project) error {
	defer s.projects.forget()
	return s.exec(ctx, "UPDATE projects SET name = ?, autosave = ?, idle = ? WHERE id = ?", p.Name, p.Autosave, int64(p.Idle/time.Second), p.ID)
}

// DeleteProject implements hub.Store.
func (s *Store) DeleteProject(ctx context.Context, id string) error {
	defer s.sessions.forget() // they go with it, as do its kernels
	defer s.projects.forget()
	defer s.nodes.forget()
	defer s.revisions.forget()
	defer s.aliases.forget()
	return s.exec(ctx, "DELETE FROM projects WHERE id = ?", id)
}

const kernelColumns = "id, project, spec, image, dir, configuration, state, detail, incarnation, container, journal, parts, acked, checkpoint, address, created_at, active_at, since, base, awake_until, home"

// PutKernel implements hub.Store.
func (s *Store) PutKernel(ctx context.Context, k hub.Kernel) error {
	return s.exec(ctx, "INSERT INTO kernels ("+kernelColumns+`) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET configuration=excluded.configuration, home=excluded.home, state=excluded.state, detail=excluded.detail,
		incarnation=excluded.incarnation, container=excluded.container, journal=excluded.journal, parts=excluded.parts,
		acked=excluded.acked, checkpoint=excluded.checkpoint, address=excluded.address, active_at=excluded.active_at,
		since=excluded.since, image=excluded.image, spec=excluded.spec, base=excluded.base, awake_until=excluded.awake_until`,
		k.ID, k.Project, k.Spec, k.Image, k.Dir, k.Configuration, k.State, k.Detail, k.Incarnation, k.Container, k.Journal,
		k.Parts, k.Acked, k.Checkpoint, k.Address, ms(k.CreatedAt), ms(k.ActiveAt), ms(k.Since), k.Base, ms(k.AwakeUntil), k.Home)
}

// Kernels implements hub.Store.
func (s *Store) Kernels(ctx context.Context) ([]hub.Kernel, error) {
	return all(ctx, s, func(r row) (k hub.Kernel, err error) {
		var created, active, since, awake int64
		err = r.Scan(&k.ID, &k.Project, &k.Spec, &k.Image, &k.Dir, &k.Configuration, &k.State, &k.Detail, &k.Incarnation, &k.Container,
			&k.Journal, &k.Parts, &k.Acked, &k.Checkpoint, &k.Address, &created, &active, &since, &k.Base, &awake, &k.Home)
		k.CreatedAt, k.ActiveAt, k.Since, k.AwakeUntil = at(created), at(active), at(since), at(awake)
		return k, err
	}, "SELECT "+kernelColumns+" FROM kernels ORDER BY created_at, id")
}

// DeleteKernel implements hub.Store.
func (s *Store) DeleteKernel(ctx context.Context, id kernel.ID) error {
	defer s.sessions.forget() // they go with it
	return s.exec(ctx, "DELETE FROM kernels WHERE id = ?", id)
}

// PutSession implements hub.Store.
func (s *Store) PutSession(ctx context.Context, v hub.Session) error {
	defer s.sessions.forget()
	return s.exec(ctx, `INSERT INTO sessions (id, project, path, name, type, kernel, created_at) VALUES (?,?,?,?,?,?,?)
		ON CONFLICT (id) DO UPDATE SET path=excluded.path, name=excluded.name, type=excluded.type, kernel=excluded.kernel`,
		v.ID, v.Project, v.Path, v.Name, v.Type, v.Kernel, ms(v.CreatedAt))
}

// Sessions implements hub.Store; an empty project means all.
func (s *Store) Sessions(ctx context.Context, project string) ([]hub.Session, error) {
	list, err := s.sessions.get(project, func() ([]hub.Session, error) {
		return all(ctx, s, func(r row) (v hub.Session, err error) {
			var created int64
			err = r.Scan(&v.ID, &v.Project, &v.Path, &v.Name, &v.Type, &v.Kernel, &created)
			v.CreatedAt = at(created)
			return v, err
		}, "SELECT id, project, path, name, type, kernel, created_at FROM sessions WHERE ? IN ('', project) ORDER BY created_at, id", project)
	})
	return slices.Clone(list), err // the caller's own
}

// DeleteSession implements hub.Store.
func (s *Store) DeleteSession(ctx context.Context, project, id string) error {
	defer s.sessions.forget()
	return s.exec(ctx, "DELETE FROM sessions WHERE project = ? AND id = ?", project, id)
}
