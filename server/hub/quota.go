package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"cellar/internal/fault"
)

// Quota is how much a project and a person may take on the disk, in bytes; 0: as
// much as there is.
type Quota struct {
	Project int64
	User    int64 // all projects of a person, and what is stored for them
}

// Usage is what takes room, in bytes.
type Usage struct {
	Files       int64 `json:"files" doc:"notebooks and files"`
	Home        int64 `json:"home" doc:"packages, caches and settings"`
	Checkpoints int64 `json:"checkpoints" doc:"what the checkpoints add to all that is stored"`
}

// Total is all of it.
func (u Usage) Total() int64 { return u.Files + u.Home + u.Checkpoints }

// UsageView is what a project and its owner take, and may take.
type UsageView struct {
	Project      Usage `json:"project"`
	ProjectTotal int64 `json:"project_total"`
	ProjectLimit int64 `json:"project_limit" doc:"0: none"`
	UserTotal    int64 `json:"user_total" doc:"all projects of the owner"`
	UserLimit    int64 `json:"user_limit" doc:"0: none"`
}

// measures remembers for a while what folders take: to count them is much work.
type measures struct {
	mu   sync.Mutex
	last map[string]measure // by project
}

type measure struct {
	files, home int64
	at          time.Time
}

// measureLasts is how old a measure may be that is decided by.
const measureLasts = time.Minute

func (m *measures) of(project string, now time.Time) (measure, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one, ok := m.last[project]
	return one, ok && now.Sub(one.at) < measureLasts
}

func (m *measures) note(project string, one measure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[string]measure{}
	}
	for id, old := range m.last { // projects that are gone
		if one.at.Sub(old.at) > time.Hour {
			delete(m.last, id)
		}
	}
	m.last[project] = one
}

// usage measures a project. fresh: not by what was measured a moment ago.
func (h *Hub) usage(ctx context.Context, project string, fresh bool) (Usage, error) {
	now := time.Now()
	one, ok := h.measures.of(project, now)
	if !ok || fresh {
		one = measure{at: now}
		var err error
		if one.files, err = diskUse(ctx, h.FilesDir(project)); err != nil {
			return Usage{}, err
		}
		if one.home, err = diskUse(ctx, h.homeDir(project)); err != nil {
			return Usage{}, err
		}
		h.measures.note(project, one)
	}
	list, err := h.Store.Checkpoints(ctx, project)
	u := Usage{Files: one.files, Home: one.home}
	for _, c := range list {
		u.Checkpoints += c.Added + c.Files.Added
	}
	return u, err
}

// diskUse counts what all below a folder takes; what has several names counts
// once. It opens folders only, through the root, and follows no link.
func diskUse(ctx context.Context, dir string) (n int64, err error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer root.Close()
	seen := map[uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return nil // gone, or not to be read: it is not counted
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink > 1 && !d.IsDir() && seen[st.Ino] {
			return nil
		}
		if st.Nlink > 1 && !d.IsDir() {
			seen[st.Ino] = true
		}
		n += st.Blocks * 512
		return nil
	})
	return n, err
}

// Usage says what a project and its owner take.
func (h *Hub) Usage(ctx context.Context, p Project, fresh bool) (UsageView, error) {
	u, err := h.usage(ctx, p.ID, fresh)
	if err != nil {
		return UsageView{}, err
	}
	all, err := h.usageOf(ctx, p.Owner)
	return UsageView{Project: u, ProjectTotal: u.Total(), ProjectLimit: h.Quota.Project, UserTotal: all, UserLimit: h.Quota.User}, err
}

// usageOf is what all projects of a person take.
func (h *Hub) usageOf(ctx context.Context, user string) (n int64, err error) {
	list, err := h.Store.Projects(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		if p.Owner != user {
			continue
		}
		u, err := h.usage(ctx, p.ID, false)
		if err != nil {
			return 0, err
		}
		n += u.Total()
	}
	return n, nil
}

// QuotaCode is that of errors for who has no room left.
const QuotaCode = "quota"

// mayGrow refuses what would take a project, or all that its owner has, over the
// limit; an empty project means one that is not there yet. What keeps work from
// being lost is not asked: a kernel hibernates, and a notebook is saved, whatever
// the limit is.
func (h *Hub) mayGrow(ctx context.Context, user, project string, more int64) error {
	if h.Quota.Project > 0 {
		var used int64
		if project != "" {
			u, err := h.usage(ctx, project, false)
			if err != nil {
				return err
			}
			used = u.Total()
		}
		if used+more > h.Quota.Project {
			return overQuota("This project uses", used, h.Quota.Project, more)
		}
	}
	if h.Quota.User > 0 {
		used, err := h.usageOf(ctx, user)
		if err != nil {
			return err
		}
		if used+more > h.Quota.User {
			return overQuota("Your projects use", used, h.Quota.User, more)
		}
	}
	return nil
}

// MayAdd refuses new files in a project that has no room left.
func (h *Hub) MayAdd(ctx context.Context, p Project) error { return h.mayGrow(ctx, p.Owner, p.ID, 1) }

func overQuota(who string, used, limit, more int64) error {
	need := ""
	if more > 1 {
		need = fmt.Sprintf(", and this needs %s", inBytes(more))
	}
	return fault.Newf(fault.Exhausted, QuotaCode, "%s %s of %s%s. Delete files, packages or checkpoints that you do not need, or ask the operator for more.", who, inBytes(used), inBytes(limit), need)
}

// inBytes writes a size for people.
func inBytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}

// forgetMeasure has a project measured anew: something was removed.
func (m *measures) forget(project string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.last, project)
}
