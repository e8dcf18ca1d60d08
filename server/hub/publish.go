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
	"strings"
	"time"

	"cellar/internal/fault"
	"cellar/kernel"
	"cellar/node"
)

// Source names what is published: a cell by its ID, a tag or its metadata name.
type Source struct {
	Notebook string    `json:"notebook"`
	Cell     string    `json:"cell"`
	Kernel   kernel.ID `json:"kernel,omitempty"`
}

// Described is what a cell takes and gives.
type Described struct {
	Inputs   []node.Field `json:"inputs"`
	Outputs  []node.Field `json:"outputs"`
	Warnings []string     `json:"warnings"`
}

// Publication is a request to publish.
type Publication struct {
	Name          string       `json:"name"`
	Source        Source       `json:"source"`
	Inputs        []node.Field `json:"inputs"`
	Outputs       []node.Field `json:"outputs"`
	Configuration string       `json:"configuration,omitempty"`
}

// Published is the answer; the key is told this once.
type Published struct {
	ID  string `json:"id"`
	URL string `json:"url"`
	Key string `json:"key"`
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
	return "", fault.Newf(fault.NotFound, "cell_not_found", "The notebook has no cell %q. Has it been saved?", name)
}

// Describe finds inputs and outputs of a cell from its source and the values in
// the kernel.
func (h *Hub) Describe(ctx context.Context, p Project, s Source) (Described, error) {
	var d Described
	l, text, err := h.find(ctx, p, s)
	if err != nil {
		return d, err
	}
	if l.Record().State == kernel.Hibernated {
		if err := h.Resume(ctx, l, nil); err != nil {
			return d, err
		}
	}
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

// Publish makes a node of a cell and the kernel's state of this moment.
func (h *Hub) Publish(ctx context.Context, p Project, pub Publication, o *Operation) (*Published, error) {
	if err := pub.Check(); err != nil {
		return nil, err
	}
	name := strings.TrimSpace(pub.Name)
	l, text, err := h.find(ctx, p, pub.Source)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	busy := l.book.busy()
	conf := pub.Configuration
	if conf == "" {
		conf = l.rec.Configuration
	}
	l.mu.Unlock()
	if busy {
		return nil, errBusy
	}
	if _, err := h.Offer(conf); err != nil {
		return nil, err
	}
	c, err := h.Keep(ctx, l, KindPublish, name, o)
	if err != nil {
		return nil, err
	}
	key := "cellar_" + Secret()
	n := Node{
		ID: nodeID(name), Project: p.ID, Name: name, Checkpoint: c.ID, Configuration: conf, Notebook: pub.Source.Notebook,
		Cell: pub.Source.Cell, Source: text, KeyHash: HashSecret(key), CreatedAt: time.Now(),
	}
	n.Inputs, _ = json.Marshal(pub.Inputs)
	n.Outputs, _ = json.Marshal(pub.Outputs)
	undo := func(err error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		h.nodes.drop(n.ID)
		h.Store.DeleteNode(ctx, n.ID)
		os.RemoveAll(h.nodeDir(n.ID))
		if c.Kind == KindPublish {
			h.DeleteCheckpoint(ctx, p.ID, c.ID)
		}
		return err
	}
	o.Step(0.6, "Copying files and packages")
	if err := h.fillNode(ctx, p, n); err != nil {
		return nil, undo(err)
	}
	o.Step(0.8, "Starting the first instance")
	if err := h.Store.PutNode(ctx, n); err != nil {
		return nil, undo(err)
	}
	if err := h.nodes.warm(ctx, n); err != nil {
		return nil, undo(err)
	}
	h.nodeChanged(n.ID)
	return &Published{ID: n.ID, URL: "/nodes/" + n.ID + "/execute", Key: key}, nil
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

// fillNode gives a node its own copy of everything it needs: the dump by hard
// links, the journal, the project's files and packages.
func (h *Hub) fillNode(ctx context.Context, p Project, n Node) error {
	dir := h.nodeDir(n.ID)
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
	if err := os.Chmod(dir, 0o711); err != nil {
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
