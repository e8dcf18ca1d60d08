package hub

import (
	"context"
	"sync"
	"time"

	"cellar/node"
)

// watches are the windows of the aliases that have a guard. What was counted is
// forgotten with the hub, and with every change of the alias.
type watches struct {
	mu   sync.Mutex
	list map[string]*aliasWatch
}

// aliasWatch looks after one setting of an alias.
type aliasWatch struct {
	setting int
	windows map[string]*node.Window // by target
	over    bool                    // it has found fault; the alias is going back
}

func (w *watches) forget(alias string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.list, alias)
}

// count notes a call that an alias led somewhere, and says what limit of the
// guard it has brought it beyond. That is said once.
func (w *watches) count(a Alias, target string, failed bool, took time.Duration, now time.Time) string {
	w.mu.Lock()
	watch := w.list[a.ID]
	if watch == nil || watch.setting < a.Number {
		if w.list == nil {
			w.list = map[string]*aliasWatch{}
		}
		watch = &aliasWatch{setting: a.Number, windows: map[string]*node.Window{}}
		w.list[a.ID] = watch
	}
	if watch.setting != a.Number || watch.over { // a call that began before the change
		w.mu.Unlock()
		return ""
	}
	window := watch.windows[target]
	if window == nil {
		window = node.NewWindow(time.Duration(a.Guard.Window) * time.Second)
		watch.windows[target] = window
	}
	w.mu.Unlock()
	window.Add(now, failed, took)
	why := window.Exceeds(a.Guard, now)
	if why == "" {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if watch.over {
		return ""
	}
	watch.over = true
	return why
}

// guard looks at a call that has ended, and lets the alias go back when it must.
func (h *Hub) guard(ctx context.Context, a Alias, share node.Share, failed bool, took time.Duration) {
	if !a.guarded() {
		return
	}
	why := h.watches.count(a, share.Target(), failed, took, time.Now())
	if why == "" {
		return
	}
	if n, err := h.Store.Node(context.WithoutCancel(ctx), share.Node); err == nil {
		share.Node = n.Name
	}
	if err := h.retreat(context.WithoutCancel(ctx), a, share.Target()+": "+why+"."); err != nil {
		h.Log.Error("an alias does not go back", "alias", a.ID, "error", err)
	}
}

// retreat puts the setting before this one in force again, as the guard says.
func (h *Hub) retreat(ctx context.Context, a Alias, why string) error {
	before, err := h.settingOf(ctx, a, a.Number-1)
	if err != nil {
		return err
	}
	h.Log.Warn("an alias goes back to its previous setting", "alias", a.ID, "setting", a.Number, "why", why)
	a.Setting = Setting{Number: a.Number + 1, Targets: before.Targets, Guard: before.Guard, Public: a.Public, Reason: why, At: time.Now()}
	return h.putSetting(ctx, a)
}
