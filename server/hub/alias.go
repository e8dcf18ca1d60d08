package hub

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cellar/internal/fault"
	"cellar/node"
)

// keptSettings is how many former settings of an alias stay as its history.
const keptSettings = 200

var aliasName = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

var (
	errNoAlias      = fault.New(fault.NotFound, "alias_not_found", "There is no alias by that name in this project.")
	errAliasChanged = fault.New(fault.Conflict, "alias_changed", "Somebody else has changed the alias just now. Look at it again.")
)

// AliasView is an alias as the hub's API shows it.
type AliasView struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Project   string      `json:"project"`
	URL       string      `json:"url"`
	CreatedAt time.Time   `json:"created_at"`
	Key       string      `json:"key,omitempty" doc:"of a new alias that is not public: told this once"`
	Setting   SettingView `json:"setting"`
	Gone      bool        `json:"gone,omitempty" doc:"in events only: the alias was deleted"`
}

// SettingView is a setting as the hub's API shows it.
type SettingView struct {
	Number  int          `json:"number"`
	Targets []TargetView `json:"targets"`
	Guard   node.Guard   `json:"guard"`
	Public  bool         `json:"public"`
	Author  string       `json:"author" doc:"empty: the server went back by itself"`
	Reason  string       `json:"reason"`
	At      time.Time    `json:"at"`
}

// TargetView is a share with the node's name.
type TargetView struct {
	node.Share
	Name string `json:"name" doc:"the node's; empty: it was deleted"`
}

// AliasRequest is a new setting of an alias.
type AliasRequest struct {
	Targets []node.Share `json:"targets" maxItems:"20" doc:"node is an ID or a name; the percentages add up to 100"`
	Guard   node.Guard   `json:"guard,omitempty" doc:"when to go back to the setting before this one; off if left out"`
	Public  bool         `json:"public,omitempty" doc:"answers without a key"`
	Reason  string       `json:"reason,omitempty" maxLength:"500" doc:"why, for the history"`
}

// AliasView returns what is shown of an alias.
func (h *Hub) AliasView(ctx context.Context, a Alias) AliasView {
	return AliasView{ID: a.ID, Name: a.Name, Project: a.Project, URL: "/aliases/" + a.ID + "/execute", CreatedAt: a.CreatedAt, Setting: h.settingView(ctx, a.Setting)}
}

func (h *Hub) settingView(ctx context.Context, s Setting) SettingView {
	v := SettingView{Number: s.Number, Guard: s.Guard, Public: s.Public, Author: s.Author, Reason: s.Reason, At: s.At, Targets: []TargetView{}}
	for _, share := range s.Targets {
		t := TargetView{Share: share}
		if n, err := h.Store.Node(ctx, share.Node); err == nil {
			t.Name = n.Name
		}
		v.Targets = append(v.Targets, t)
	}
	return v
}

// AliasOf finds an alias of a project by its name or ID.
func (h *Hub) AliasOf(ctx context.Context, p Project, name string) (Alias, error) {
	list, err := h.Store.Aliases(ctx, p.ID)
	if err != nil {
		return Alias{}, err
	}
	i := slices.IndexFunc(list, func(a Alias) bool { return a.Name == name || a.ID == name })
	if i < 0 {
		return Alias{}, errNoAlias
	}
	return list[i], nil
}

// AliasHistory lists an alias's settings, the one in force first.
func (h *Hub) AliasHistory(ctx context.Context, a Alias) ([]SettingView, error) {
	list, err := h.Store.Settings(ctx, a.ID)
	var out []SettingView
	for _, s := range list {
		out = append(out, h.settingView(ctx, s))
	}
	return out, err
}

// CheckAlias finds the nodes that a request names and reports what is wrong with
// it, before anything is done.
func (h *Hub) CheckAlias(ctx context.Context, p Project, name string, in AliasRequest) (AliasRequest, error) {
	if !aliasName.MatchString(name) {
		return in, fault.New(fault.Invalid, "alias_name", "An alias's name has small letters, digits and hyphens, a letter first, 63 at most.")
	}
	in.Targets = slices.Clone(in.Targets)
	for i, s := range in.Targets {
		n, err := h.NodeNamed(ctx, p, s.Node)
		if err == nil && s.Revision != 0 {
			_, err = h.revision(ctx, n, s.Revision)
		}
		if err != nil {
			return in, err
		}
		in.Targets[i].Node = n.ID
	}
	in.Guard = in.Guard.Complete()
	in.Reason = strings.TrimSpace(in.Reason)
	return in, errors.Join(node.CheckShares(in.Targets), in.Guard.Check())
}

// NodeNamed finds a node of a project by its ID or name.
func (h *Hub) NodeNamed(ctx context.Context, p Project, name string) (Node, error) {
	list, err := h.Store.Nodes(ctx, p.ID)
	if err != nil {
		return Node{}, err
	}
	var found []Node
	for _, n := range list {
		if n.ID == name {
			return n, nil
		}
		if n.Name == name {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return Node{}, fault.Newf(fault.NotFound, "node_not_found", "There is no node %.100q in this project.", name)
	case 1:
		return found[0], nil
	}
	return Node{}, fault.Newf(fault.Conflict, "node_ambiguous", "%d nodes are named %.100q. Say by its ID which one is meant.", len(found), name)
}

// calleeID finds a node or an alias by ID or name.
func (h *Hub) calleeID(ctx context.Context, p Project, name string) (string, error) {
	a, err := h.AliasOf(ctx, p, name)
	if err == nil {
		return a.ID, nil
	}
	if !errors.Is(err, fault.NotFound) {
		return "", err
	}
	n, err := h.NodeNamed(ctx, p, name)
	return n.ID, err
}

// SetAlias makes an alias, or gives one a new setting, once what it leads to can
// answer. Calls go where they went until then, and those under way end there.
func (h *Hub) SetAlias(ctx context.Context, by User, p Project, name string, in AliasRequest, o *Operation) (AliasView, error) {
	in, err := h.CheckAlias(ctx, p, name, in)
	if err != nil {
		return AliasView{}, err
	}
	o.Step(0.2, "Starting instances of what it leads to")
	if err := h.warmTargets(ctx, p, in.Targets); err != nil {
		return AliasView{}, err
	}
	if err := errors.Join(h.step("alias.warmed"), context.Cause(ctx)); err != nil {
		return AliasView{}, err
	}
	release, err := h.nodes.deeds.take(ctx, "use/"+p.ID)
	if err != nil {
		return AliasView{}, err
	}
	defer release()
	ctx = context.WithoutCancel(ctx)
	if in, err = h.CheckAlias(ctx, p, name, in); err != nil { // something may have been deleted meanwhile
		return AliasView{}, err
	}
	a, err := h.AliasOf(ctx, p, name)
	var first []Key
	secret := ""
	if errors.Is(err, fault.NotFound) {
		a = Alias{ID: nodeID(name), Project: p.ID, Name: name, CreatedAt: time.Now()}
		if !in.Public {
			var k Key
			k, secret = newKey(p.ID, "first", by.Name, a.ID)
			first = append(first, k)
		}
	} else if err != nil {
		return AliasView{}, err
	}
	a.Setting = Setting{Number: a.Number + 1, Targets: in.Targets, Guard: in.Guard, Public: in.Public, Author: by.Name, Reason: in.Reason, At: time.Now()}
	if err := h.putSetting(ctx, a, first...); err != nil {
		return AliasView{}, err
	}
	h.step("alias.recorded")
	v := h.AliasView(ctx, a)
	v.Key = secret
	return v, nil
}

func (h *Hub) putSetting(ctx context.Context, a Alias, first ...Key) error {
	err := h.keys.with(first, func() error { return h.Store.AddSetting(ctx, a, keptSettings, first...) })
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Conflict) {
		return fault.Wrap(fault.Conflict, "alias_changed", errAliasChanged.Sentence, err)
	}
	if err != nil {
		return err
	}
	h.events.send(Event{Project: a.Project, Type: "alias", Data: h.AliasView(ctx, a)})
	return nil
}

// warmTargets sees to it that all that is to get calls can answer.
func (h *Hub) warmTargets(ctx context.Context, p Project, list []node.Share) error {
	var group errgroup.Group
	for _, s := range list {
		if s.Percent == 0 {
			continue
		}
		group.Go(func() error {
			n, err := h.Store.Node(ctx, s.Node)
			if err != nil || n.Paused { // who pauses a node wants it to refuse
				return err
			}
			revision := s.Revision
			if revision == 0 {
				revision = n.Current
			}
			err = h.nodes.pool(p.ID, target{n.ID, revision}).Warm(ctx)
			if err != nil && fault.ClassOf(err) != fault.Internal {
				err = fault.Wrap(fault.ClassOf(err), "target_failed", fmt.Sprintf("%s@%d cannot answer, so the alias stays as it was. %s", n.Name, revision, fault.Sentence(err)), err)
			}
			return err
		})
	}
	return group.Wait()
}

// RestoreAlias goes back to a former setting, 0 for the one before, as a person
// asks for it.
func (h *Hub) RestoreAlias(ctx context.Context, by User, p Project, a Alias, number int, o *Operation) (AliasView, error) {
	if number == 0 {
		number = a.Number - 1
	}
	s, err := h.settingOf(ctx, a, number)
	if err != nil {
		return AliasView{}, err
	}
	return h.SetAlias(ctx, by, p, a.Name, AliasRequest{Targets: s.Targets, Guard: s.Guard, Public: a.Public, Reason: fmt.Sprintf("Back to setting %d.", number)}, o)
}

func (h *Hub) settingOf(ctx context.Context, a Alias, number int) (Setting, error) {
	list, err := h.Store.Settings(ctx, a.ID)
	if err != nil {
		return Setting{}, err
	}
	i := slices.IndexFunc(list, func(s Setting) bool { return s.Number == number })
	if i < 0 {
		return Setting{}, fault.Newf(fault.NotFound, "setting_not_found", "The alias %q has no setting %d in its history.", a.Name, number)
	}
	return list[i], nil
}

// DeleteAlias removes an alias.
func (h *Hub) DeleteAlias(ctx context.Context, a Alias) error {
	release, err := h.nodes.deeds.take(ctx, "use/"+a.Project)
	if err != nil {
		return err
	}
	defer release()
	ctx = context.WithoutCancel(ctx)
	if err := h.Store.DeleteAlias(ctx, a.ID); err != nil {
		return err
	}
	h.events.send(Event{Project: a.Project, Type: "alias", Data: AliasView{ID: a.ID, Name: a.Name, Project: a.Project, Gone: true}})
	h.watches.forget(a.ID)
	h.keys.forgetPublic(a.ID)
	return h.unscope(ctx, a.Project, a.ID)
}

// usedBy reports an alias that leads to a node, or to a revision of it (0: any),
// or that would go back to it by itself.
func (h *Hub) usedBy(ctx context.Context, n Node, revision int) error {
	list, err := h.Store.Aliases(ctx, n.Project)
	if err != nil {
		return err
	}
	uses := func(s Setting) bool {
		return slices.ContainsFunc(s.Targets, func(t node.Share) bool { return t.Node == n.ID && (revision == 0 || t.Revision == revision) })
	}
	what := fmt.Sprintf("the node %q", n.Name)
	if revision != 0 {
		what = fmt.Sprintf("revision %d of the node %q", revision, n.Name)
	}
	for _, a := range list {
		if uses(a.Setting) {
			return fault.Newf(fault.Conflict, "alias_uses", "The alias %q leads to %s. Let it lead elsewhere, or delete it, first.", a.Name, what)
		}
		if !a.guarded() {
			continue
		}
		before, err := h.settingOf(ctx, a, a.Number-1)
		if err == nil && uses(before) {
			return fault.Newf(fault.Conflict, "alias_uses", "The alias %q would go back to %s if its guard found fault with what it leads to now. Take the guard off first.", a.Name, what)
		}
		if err != nil && !errors.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}

// guarded reports whether an alias may go back by itself. It does so once: a
// setting that the hub went back to was in order before.
func (a Alias) guarded() bool { return a.Guard.On() && a.Author != "" && a.Number > 1 }
