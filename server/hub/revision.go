package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/node"
)

// RevisionView is a revision as the hub's API shows it.
type RevisionView struct {
	Number        int          `json:"number"`
	Current       bool         `json:"current"`
	Checkpoint    string       `json:"checkpoint"`
	Configuration string       `json:"configuration"`
	Notebook      string       `json:"notebook"`
	Cell          string       `json:"cell"`
	Source        string       `json:"source"`
	Inputs        []node.Field `json:"inputs"`
	Outputs       []node.Field `json:"outputs"`
	Author        string       `json:"author" doc:"the person's name at the time; empty: not known"`
	Note          string       `json:"note"`
	Instances     int          `json:"instances"`
	Calls         int64        `json:"calls"`
	Errors        int64        `json:"errors"`
	CreatedAt     time.Time    `json:"created_at"`
}

func (h *Hub) revisionView(n Node, r Revision) RevisionView {
	v := RevisionView{
		Number: r.Number, Current: r.Number == n.Current, Checkpoint: r.Checkpoint, Configuration: r.Configuration, Notebook: r.Notebook, Cell: r.Cell,
		Source: r.Source, Author: r.Author, Note: r.Note, CreatedAt: r.CreatedAt,
	}
	json.Unmarshal(r.Inputs, &v.Inputs)
	json.Unmarshal(r.Outputs, &v.Outputs)
	s := h.nodes.stats(n.ID, r.Number)
	v.Instances, v.Calls, v.Errors = s.Instances, s.Calls, s.Errors
	return v
}

// Revisions lists the revisions of a node, newest first.
func (h *Hub) Revisions(ctx context.Context, n Node) ([]RevisionView, error) {
	list, err := h.Store.Revisions(ctx, n.ID)
	var out []RevisionView
	for _, r := range list {
		out = append(out, h.revisionView(n, r))
	}
	return out, err
}

// RevisionOf shows one revision of a node.
func (h *Hub) RevisionOf(ctx context.Context, n Node, number int) (RevisionView, error) {
	r, err := h.revision(ctx, n, number)
	if err != nil {
		return RevisionView{}, err
	}
	return h.revisionView(n, r), nil
}

func (h *Hub) revision(ctx context.Context, n Node, number int) (Revision, error) {
	r, err := h.Store.Revision(ctx, n.ID, number)
	if errors.Is(err, fault.NotFound) {
		err = fault.Newf(fault.NotFound, "revision_not_found", "The node %q has no revision %d.", n.Name, number)
	}
	return r, err
}

// RollbackTo finds the revision to go back to: the one named, or for 0 the
// newest that is older than the current one.
func (h *Hub) RollbackTo(ctx context.Context, n Node, number int) (int, error) {
	if number != 0 {
		r, err := h.revision(ctx, n, number)
		return r.Number, err
	}
	list, err := h.Store.Revisions(ctx, n.ID)
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if r.Number < n.Current {
			return r.Number, nil
		}
	}
	return 0, fault.Newf(fault.Conflict, "no_older_revision", "The node %q has no revision that is older than its current one.", n.Name)
}

// SetCurrent makes a revision the one that answers calls which name none. It
// first sees to it that the revision can answer; calls go to the present one
// until then, and those under way end where they are.
func (h *Hub) SetCurrent(ctx context.Context, n Node, number int, o *Operation) (NodeView, error) {
	if !n.Paused {
		o.Step(0.2, "Starting an instance")
		if err := h.nodes.pool(n.Project, target{n.ID, number}).Warm(ctx); err != nil {
			return NodeView{}, err
		}
	}
	if err := errors.Join(h.step("rollback.warmed"), context.Cause(ctx)); err != nil {
		return NodeView{}, err
	}
	ctx = context.WithoutCancel(ctx)
	if err := h.Store.SetCurrent(ctx, n.ID, number); errors.Is(err, fault.NotFound) {
		return NodeView{}, fault.Wrap(fault.Conflict, "revision_gone", "The revision was deleted meanwhile.", err)
	} else if err != nil {
		return NodeView{}, err
	}
	h.nodeChanged(n.ID)
	h.step("rollback.recorded")
	n, err := h.Store.Node(ctx, n.ID)
	return h.NodeView(ctx, n), err
}

// Reconfiguration is a request for a revision that differs from another in what
// surrounds its state.
type Reconfiguration struct {
	From          int          `json:"from,omitempty" minimum:"1" doc:"the revision whose state is served; left out: the current one"`
	Configuration string       `json:"configuration,omitempty"`
	Inputs        []node.Field `json:"inputs,omitempty"`
	Outputs       []node.Field `json:"outputs,omitempty"`
	Note          string       `json:"note,omitempty" maxLength:"500"`
}

// Reconfigure makes a revision with the state of another, and makes it current.
func (h *Hub) Reconfigure(ctx context.Context, by User, n Node, in Reconfiguration, o *Operation) (NodeView, error) {
	release, err := h.nodes.deeds.take(ctx, n.Project+"/"+n.Name)
	if err != nil {
		return NodeView{}, err
	}
	defer release()
	if n, err = h.Store.Node(ctx, n.ID); err != nil {
		return NodeView{}, err
	}
	if in.From == 0 {
		in.From = n.Current
	}
	r, err := h.revision(ctx, n, in.From)
	if err != nil {
		return NodeView{}, err
	}
	if r, err = in.apply(r, n.Last+1, by); err != nil {
		return NodeView{}, err
	}
	if _, err := h.Offer(r.Configuration); err != nil {
		return NodeView{}, err
	}
	o.Step(0.2, "Starting an instance")
	inst, err := h.startInstance(ctx, n, r)
	if err != nil {
		return NodeView{}, err
	}
	release2, err := h.nodes.deeds.take(ctx, n.ID) // the revision it comes from is not deleted meanwhile
	if err == nil {
		defer release2()
		if _, err = h.revision(ctx, n, in.From); err == nil {
			err = errors.Join(h.step("reconfigure.warmed"), context.Cause(ctx))
		}
	}
	h.nodes.pool(n.Project, target{n.ID, r.Number}).Put(inst) // before anyone can be led to it
	if err == nil {
		err = h.Store.AddRevision(context.WithoutCancel(ctx), n, r)
	}
	if err != nil {
		h.nodes.dropRevision(n.ID, r.Number)
		return NodeView{}, err
	}
	h.nodeChanged(n.ID)
	n, err = h.Store.Node(context.WithoutCancel(ctx), n.ID)
	return h.NodeView(ctx, n), err
}

// apply makes the record of the new revision.
func (in Reconfiguration) apply(r Revision, number int, by User) (Revision, error) {
	if err := errors.Join(node.CheckFields("inputs", in.Inputs), node.CheckFields("outputs", in.Outputs)); err != nil {
		return r, err
	}
	r.Number, r.Author, r.Note, r.CreatedAt = number, by.Name, strings.TrimSpace(in.Note), time.Now()
	if in.Configuration != "" {
		r.Configuration = in.Configuration
	}
	if in.Inputs != nil {
		r.Inputs, _ = json.Marshal(in.Inputs)
	}
	if len(in.Outputs) > 0 {
		r.Outputs, _ = json.Marshal(in.Outputs)
	}
	return r, nil
}

// DeleteRevision removes a revision that nothing uses, after the calls that are
// in it.
func (h *Hub) DeleteRevision(ctx context.Context, p Project, n Node, number int) error {
	release, err := h.nodes.deeds.take(ctx, n.ID)
	if err != nil {
		return err
	}
	defer release()
	if n, err = h.Store.Node(ctx, n.ID); err != nil {
		return err
	}
	r, err := h.revision(ctx, n, number)
	if err != nil {
		return err
	}
	if number == n.Current {
		return fault.Newf(fault.Conflict, "revision_in_use", "Revision %d is the current one of the node %q. Make another one current first.", number, n.Name)
	}
	ctx = context.WithoutCancel(ctx)
	if err := h.forgetRevision(ctx, n, number); err != nil {
		return err
	}
	if err := h.step("revision.deleted"); err != nil {
		return err
	}
	h.nodes.drain(ctx, n.ID, number)
	h.nodeChanged(n.ID)
	return h.removeFiles(ctx, p, r)
}

// forgetRevision deletes the record, while no alias can be led to it.
func (h *Hub) forgetRevision(ctx context.Context, n Node, number int) error {
	release, err := h.nodes.deeds.take(ctx, "use/"+n.Project)
	if err != nil {
		return err
	}
	defer release()
	if err := h.usedBy(ctx, n, number); err != nil {
		return err
	}
	return h.Store.DeleteRevision(ctx, n.ID, number) // not when it has just become current
}

// servesFrom reports a revision that is served from a checkpoint.
func (h *Hub) servesFrom(ctx context.Context, project, checkpoint string) error {
	nodes, err := h.Store.Nodes(ctx, project)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		list, err := h.Store.Revisions(ctx, n.ID)
		if err != nil {
			return err
		}
		for _, r := range list {
			if r.Checkpoint == checkpoint {
				return fault.Newf(fault.Conflict, "checkpoint_in_use", "Revision %d of the node %q serves from this checkpoint.", r.Number, n.Name)
			}
		}
	}
	return nil
}

// settleNodes brings the nodes' folders in line with the records, before anything
// is served: one from before there were revisions becomes that of revision 1;
// what a publication or a deletion has left that a hub was killed in, goes.
// Instances, and what they have mounted, are gone already.
func (h *Hub) settleNodes(ctx context.Context) error {
	list, err := h.Store.Revisions(ctx, "")
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	checkpoints := map[string]bool{}
	for _, r := range list {
		wanted[h.revisionDir(r)], wanted[h.nodeDir(r.Node)], checkpoints[r.Checkpoint] = true, true, true
		if err := h.oldFolder(r); err != nil {
			return err
		}
	}
	for _, pattern := range []string{"*", "*/r[0-9]*"} {
		dirs, err := filepath.Glob(filepath.Join(h.Data, "nodes", pattern))
		if err != nil {
			return err
		}
		for _, d := range dirs {
			if !wanted[d] {
				h.Log.Info("removing what a publication has left", "dir", d)
				if err := os.RemoveAll(d); err != nil {
					return err
				}
			}
		}
	}
	return h.sweepPublished(ctx, checkpoints)
}

// oldFolder moves what a node from before there were revisions has into the
// folder of revision 1. A hub that is killed in this goes on at its next start.
func (h *Hub) oldFolder(r Revision) error {
	for _, name := range []string{"journal", "files", "home", "wanted.json", "dump"} {
		old := filepath.Join(h.nodeDir(r.Node), name)
		if _, err := os.Lstat(old); err != nil {
			continue
		}
		dir := filepath.Join(h.nodeDir(r.Node), "r1")
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
		if err := os.Rename(old, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("the folder of the node %s: %w", r.Node, err)
		}
	}
	return nil
}

// sweepPublished deletes checkpoints that were made for revisions which nobody
// was told of.
func (h *Hub) sweepPublished(ctx context.Context, used map[string]bool) error {
	list, err := h.Store.Checkpoints(ctx, "")
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Kind != KindPublish || used[c.ID] {
			continue
		}
		h.wg.Go(func() { // a kernel's memory may come from it still
			if err := h.DeleteCheckpoint(h.ctx, c.Project, c.ID); err != nil && h.ctx.Err() == nil {
				h.Log.Warn("a checkpoint that was made for a node is left", "checkpoint", c.ID, "error", err)
			}
		})
	}
	return nil
}
