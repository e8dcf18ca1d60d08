package hub

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/node"
)

// Source names what is published: a cell by its ID, a tag, its metadata name, or
// its number among the code cells, from 1.
type Source struct {
	Notebook string    `json:"notebook"`
	Cell     string    `json:"cell"`
	Kernel   kernel.ID `json:"kernel,omitempty"`
	// Checkpoint is what is published instead of a kernel's state of this moment.
	Checkpoint string `json:"checkpoint,omitempty" maxLength:"64" doc:"instead of a kernel: the state, and the cell's text, that this checkpoint has"`
}

// Described is what a cell takes and gives.
type Described struct {
	Inputs   []node.Field `json:"inputs"`
	Outputs  []node.Field `json:"outputs"`
	Warnings []string     `json:"warnings"`
}

// Publication is a request to publish.
type Publication struct {
	Name          string       `json:"name" doc:"under the name of a node that is there, a new revision of it is made, which becomes current"`
	Node          string       `json:"node,omitempty" doc:"the ID of the node that gets the revision, where several have the name"`
	Note          string       `json:"note,omitempty" doc:"what is new, for people" maxLength:"500"`
	Source        Source       `json:"source"`
	Inputs        []node.Field `json:"inputs"`
	Outputs       []node.Field `json:"outputs"`
	Configuration string       `json:"configuration,omitempty"`
}

// Published is the answer; the key of a new node is told this once.
type Published struct {
	ID       string `json:"id"`
	URL      string `json:"url"`
	Key      string `json:"key,omitempty" doc:"of a new node; a new revision is called with the keys that there are"`
	Revision int    `json:"revision"`
	Message  string `json:"message" doc:"what has become of it, for people"`
}

// keptFiles bounds what of a project's files a node keeps, in bytes.
const keptFiles = 4 << 30

// find gives the kernel and the source text that a Source names.
func (h *Hub) find(ctx context.Context, p Project, s Source) (*Live, string, error) {
	if s.Notebook == "" || s.Cell == "" {
		return nil, "", fault.New(fault.Invalid, "source_missing", "Say which notebook and which cell are to be published.")
	}
	nb, err := h.Notebooks.Read(ctx, p, s.Notebook)
	if err != nil {
		return nil, "", err
	}
	text, err := cellSource(nb, s.Cell)
	if err != nil {
		return nil, "", err
	}
	if s.Kernel == "" {
		list, err := h.Store.Sessions(ctx, p.ID)
		if err != nil {
			return nil, "", err
		}
		i := slices.IndexFunc(list, func(o Session) bool { return o.Path == s.Notebook })
		if i < 0 {
			return nil, "", fault.New(fault.Conflict, "no_session", "The notebook has no session. Run its cells first: the values they leave are what is published.")
		}
		s.Kernel = list[i].Kernel
	}
	l, err := h.Live(p.ID, s.Kernel)
	return l, text, err
}

func cellSource(nb []byte, name string) (string, error) {
	var doc struct {
		Cells []struct {
			ID       string `json:"id"`
			CellType string `json:"cell_type"`
			Source   string `json:"source"`
			Metadata struct {
				Name string   `json:"name"`
				Tags []string `json:"tags"`
			} `json:"metadata"`
		} `json:"cells"`
	}
	if err := json.Unmarshal(nb, &doc); err != nil {
		return "", fault.Wrap(fault.Invalid, "not_a_notebook", "The file is not a notebook.", err)
	}
	for _, by := range []func(i int) bool{
		func(i int) bool { return doc.Cells[i].ID == name },
		func(i int) bool { return slices.Contains(doc.Cells[i].Metadata.Tags, name) },
		func(i int) bool { return doc.Cells[i].Metadata.Name == name },
	} {
		for i, c := range doc.Cells {
			if !by(i) {
				continue
			}
			if c.CellType != "code" {
				return "", fault.Newf(fault.Invalid, "not_code", "The cell %q is not a code cell.", name)
			}
			return c.Source, nil
		}
	}
	if i, err := strconv.Atoi(name); err == nil && i > 0 { // as people count
		for _, c := range doc.Cells {
			if c.CellType != "code" {
				continue
			}
			if i--; i == 0 {
				return c.Source, nil
			}
		}
	}
	return "", fault.Newf(fault.NotFound, "cell_not_found", "The notebook has no cell %q. Has it been saved?", name)
}

// Describe finds inputs and outputs of a cell from its source and the values in
// the kernel.
func (h *Hub) Describe(ctx context.Context, p Project, s Source) (Described, error) {
	var d Described
	if s.Checkpoint != "" {
		return h.describeAt(ctx, p, s)
	}
	l, text, err := h.find(ctx, p, s)
	if err != nil {
		return d, err
	}
	if l.Record().State == kernel.Hibernated {
		if err := h.Resume(ctx, l, nil); err != nil {
			return d, err
		}
	}
	return h.describe(ctx, l, text)
}

func (h *Hub) describe(ctx context.Context, l *Live, text string) (d Described, err error) {
	answer, err := l.Ask(ctx, fmt.Sprintf(
		"__import__('json').dumps(__import__('cellar_kernel.contract').contract.describe(get_ipython(), bytes.fromhex('%s').decode())).encode().hex()",
		hex.EncodeToString([]byte(text))))
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(answer), &d); err != nil {
		return d, fault.Wrap(fault.Unavailable, "kernel_answer", "The kernel's answer could not be read.", err)
	}
	if err := errors.Join(node.CheckFields("inputs", d.Inputs), node.CheckFields("outputs", d.Outputs)); err != nil {
		return Described{}, err
	}
	return d, nil
}

// Check reports what is wrong with a request before anything is done.
func (pub Publication) Check() error {
	if _, err := checkName(pub.Name); err != nil {
		return err
	}
	if err := errors.Join(node.CheckFields("inputs", pub.Inputs), node.CheckFields("outputs", pub.Outputs)); err != nil {
		return err
	}
	if len(pub.Outputs) == 0 {
		return fault.New(fault.Invalid, "no_outputs", "A node needs at least one output: a variable that the cell sets.")
	}
	return nil
}

// Publish makes a node of a cell and the kernel's state of this moment, or a new
// revision of the node that has the name. Nothing is seen of it before it has
// answered on this machine: then one write makes it current.
func (h *Hub) Publish(ctx context.Context, by User, p Project, pub Publication, o *Operation) (*Published, error) {
	if err := pub.Check(); err != nil {
		return nil, err
	}
	if err := h.mayUse(p); err != nil { // an instance of it is tried
		return nil, err
	}
	pub.Name = strings.TrimSpace(pub.Name)
	release, err := h.nodes.deeds.take(ctx, p.ID+"/"+pub.Name) // two of a name are two revisions
	if err != nil {
		return nil, err
	}
	defer release()
	n, err := h.nodeFor(ctx, p, pub)
	if err != nil {
		return nil, err
	}
	c, text, conf, err := h.stateFor(ctx, p, pub, o)
	if err != nil {
		return nil, err
	}
	if pub.Source.Notebook == "" {
		pub.Source.Notebook = c.Notebook
	}
	r := Revision{
		Node: n.ID, Number: n.Last + 1, Files: n.Last + 1, Checkpoint: c.ID, Configuration: conf, Notebook: pub.Source.Notebook,
		Cell: pub.Source.Cell, Source: text, Author: by.Name, Note: strings.TrimSpace(pub.Note), CreatedAt: time.Now(),
	}
	r.Inputs, _ = json.Marshal(pub.Inputs)
	r.Outputs, _ = json.Marshal(pub.Outputs)
	var first []Key
	key := ""
	if n.Last == 0 {
		var k Key
		k, key = newKey(p.ID, "first", by.Name, n.ID)
		first = append(first, k)
	}
	if err := h.introduce(ctx, p, n, r, o, first...); err != nil {
		return nil, h.unpublish(ctx, p, r, err)
	}
	done := &Published{ID: n.ID, URL: "/nodes/" + n.ID + "/execute", Key: key, Revision: r.Number, Message: "The node " + n.Name + " is new."}
	if n.Last > 0 {
		done.Message = fmt.Sprintf("Revision %d of the node %s answers from now on, with the keys that there are. Revision %d is kept: you can go back to it.", r.Number, n.Name, n.Current)
	}
	return done, nil
}

// nodeFor finds the node that a publication is a revision of, or makes the record
// of a new one.
func (h *Hub) nodeFor(ctx context.Context, p Project, pub Publication) (n Node, err error) {
	list, err := h.Store.Nodes(ctx, p.ID)
	if err != nil {
		return n, err
	}
	list = slices.DeleteFunc(list, func(n Node) bool { return n.Name != pub.Name || (pub.Node != "" && n.ID != pub.Node) })
	switch {
	case len(list) == 1:
		return list[0], nil
	case len(list) > 1: // from before nodes had revisions
		return n, fault.Newf(fault.Conflict, "node_ambiguous", "%d nodes are named %q. Say by its ID which one gets the revision, or choose another name.", len(list), pub.Name)
	case pub.Node != "":
		return n, errNoNode
	}
	return Node{ID: nodeID(pub.Name), Project: p.ID, Name: pub.Name, CreatedAt: time.Now()}, nil
}

// introduce brings a revision to where it can answer, and makes it current.
func (h *Hub) introduce(ctx context.Context, p Project, n Node, r Revision, o *Operation, first ...Key) error {
	if err := h.step("publish.kept"); err != nil {
		return err
	}
	o.Step(0.6, "Copying files and packages")
	if err := h.fillNode(ctx, p, r); err != nil {
		return err
	}
	if err := h.step("publish.filled"); err != nil {
		return err
	}
	o.Step(0.8, "Starting the first instance")
	inst, err := h.startInstance(ctx, n, r)
	if err != nil {
		return err
	}
	err = errors.Join(h.step("publish.warmed"), context.Cause(ctx))
	h.nodes.pool(n.Project, target{n.ID, r.Number}).Put(inst) // before anyone can be led to it
	if err == nil {
		err = syncFolder(h.revisionDir(r)) // who is told that it is published has it after a power cut, too
	}
	if err == nil {
		err = h.keys.with(first, func() error { return h.Store.AddRevision(context.WithoutCancel(ctx), n, r, first...) })
	}
	if errors.Is(err, fault.NotFound) {
		err = fault.Wrap(fault.Conflict, "node_gone", "The node was deleted meanwhile.", err)
	}
	if err != nil {
		h.nodes.dropRevision(n.ID, r.Number)
		return err
	}
	h.nodeChanged(n.ID)
	h.step("publish.recorded") // it is published: what fails here fails nobody
	return nil
}

// unpublish removes what a revision that nobody was told of has left.
func (h *Hub) unpublish(ctx context.Context, p Project, r Revision, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := h.removeFiles(ctx, p, r)
	if r.Number == 1 {
		err = errors.Join(err, os.RemoveAll(h.nodeDir(r.Node)))
	}
	if err != nil {
		h.Log.Error("a revision that could not be published has left something", "node", r.Node, "revision", r.Number, "error", err)
	}
	return why
}

// removeFiles removes a revision's folder, unless another is served from it, and
// its checkpoint, unless that is more than a node's.
func (h *Hub) removeFiles(ctx context.Context, p Project, r Revision) error {
	list, err := h.Store.Revisions(ctx, r.Node)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(o Revision) bool { return o.Number == r.Number })
	if !slices.ContainsFunc(list, func(o Revision) bool { return o.Files == r.Files }) {
		err = os.RemoveAll(h.revisionDir(r))
	}
	if slices.ContainsFunc(list, func(o Revision) bool { return o.Checkpoint == r.Checkpoint }) {
		return err
	}
	if c, e := h.Store.Checkpoint(ctx, p.ID, r.Checkpoint); e == nil && c.Kind == KindPublish {
		err = errors.Join(err, h.DeleteCheckpoint(ctx, p.ID, c.ID))
	}
	return err
}

// nodeID is readable and cannot be guessed from the name alone.
func nodeID(name string) string {
	s := strings.Map(func(r rune) rune {
		if r < 128 {
			return r
		}
		return -1
	}, slug(name))
	return strings.Trim(s, "-") + "-" + newID()[:8]
}

func (h *Hub) nodeDir(id string) string { return filepath.Join(h.Data, "nodes", id) }

// revisionDir is where the files are that a revision is served from.
func (h *Hub) revisionDir(r Revision) string {
	return filepath.Join(h.nodeDir(r.Node), fmt.Sprint("r", r.Files))
}

// fillNode gives a revision its own copy of everything it needs: the dump by hard
// links, the journal, the project's files and packages.
func (h *Hub) fillNode(ctx context.Context, p Project, n Revision) error {
	dir := h.revisionDir(n)
	giveBack, err := h.borrowWhole(ctx, p.ID, n.Checkpoint) // the node has it for good, also when the checkpoint is deleted
	if err != nil {
		return err
	}
	defer giveBack()
	if err := room(h.Data, 0); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "dump"), 0o755); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(h.nodeDir(n.Node), 0o711), os.Chmod(dir, 0o711)); err != nil {
		return err
	}
	entries, err := os.ReadDir(h.dumpDir(n.Checkpoint))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(h.dumpDir(n.Checkpoint), e.Name()), filepath.Join(dir, "dump", e.Name())); err != nil {
			return err
		}
	}
	owner := p.FileOwner()
	return errors.Join(
		copyTree(filepath.Join(h.vaultDir(n.Checkpoint), "journal"), filepath.Join(dir, "journal"), owner, 1<<50),
		copyTree(h.FilesDir(p.ID), filepath.Join(dir, "files"), owner, keptFiles),
		copyTree(h.homeDir(p.ID), filepath.Join(dir, "home"), owner, keptFiles),
	)
}
