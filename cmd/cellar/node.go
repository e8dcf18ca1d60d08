package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"text/tabwriter"
	"time"
)

// nodeCmd works on the nodes of a project through the server's API.
type nodeCmd struct {
	Publish   nodePublishCmd   `cmd:"" help:"Publish a cell with the kernel's state of this moment; under the name of a node, as a new revision of it."`
	List      nodeListCmd      `cmd:"" help:"List nodes."`
	Call      nodeCallCmd      `cmd:"" help:"Call a node or an alias."`
	Revisions nodeRevisionsCmd `cmd:"" help:"List the revisions of a node."`
	Rollback  nodeRollbackCmd  `cmd:"" help:"Make another revision current, or the one before."`
	Pause     nodePauseCmd     `cmd:"" help:"Refuse calls of a node, after those under way."`
	Resume    nodeResumeCmd    `cmd:"" help:"Take calls again."`
	Delete    nodeDeleteCmd    `cmd:"" help:"Delete a node, or one revision of it."`
}

type nodeView struct {
	ID, Name, State string
	StateDetail     string `json:"state_detail"`
	URL             string
	Revision        int
	Instances       int
	Calls, Errors   int64
}

type field struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Example json.RawMessage `json:"example,omitempty"`
}

type nodePublishCmd struct {
	inProject
	Notebook      string `arg:"" help:"The notebook's path in the project."`
	Cell          string `help:"ID, tag or name of the cell, or its number among the code cells, from 1." required:""`
	Name          string `help:"The node's name; the notebook's if left out."`
	Node          string `help:"ID of the node that gets the revision, where several have the name."`
	Configuration string `help:"Configuration of the instances; the kernel's if left out."`
	Note          string `help:"What is new."`
	Checkpoint    string `help:"ID of a checkpoint whose state is published, instead of the kernel's of this moment."`
}

func (c *nodePublishCmd) Run(ctx context.Context, out io.Writer) error {
	if c.Name == "" {
		c.Name = strings.TrimSuffix(path.Base(c.Notebook), ".ipynb")
	}
	source := map[string]string{"notebook": c.Notebook, "cell": c.Cell}
	if c.Checkpoint != "" {
		source["checkpoint"] = c.Checkpoint
	}
	var found struct {
		Inputs, Outputs []field
		Warnings        []string
	}
	if _, err := c.do(ctx, http.MethodPost, c.at("nodes", "describe"), source, &found); err != nil {
		return err
	}
	for _, w := range found.Warnings {
		fmt.Fprintln(os.Stderr, "note:", w)
	}
	var made struct {
		ID, URL, Key, Message string
		Revision              int
	}
	raw, err := c.begin(ctx, http.MethodPost, c.at("nodes"), map[string]any{
		"name": c.Name, "node": c.Node, "note": c.Note, "configuration": c.Configuration, "source": source,
		"inputs": append([]field{}, found.Inputs...), "outputs": append([]field{}, found.Outputs...),
	}, &made)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		fmt.Fprintf(out, "%s\nnode      %s, revision %d\naddress   %s\n", made.Message, made.ID, made.Revision, c.address("nodes", made.ID))
		if made.Key != "" {
			fmt.Fprintf(out, "key       %s\nThe key is shown only now: keep it somewhere safe.\n", made.Key)
		}
	})
}

// address is where a node or alias is called.
func (r remote) address(kind, id string) string {
	return strings.TrimSuffix(r.Server, "/") + "/" + kind + "/" + url.PathEscape(id) + "/execute"
}

type nodeListCmd struct{ inProject }

func (c *nodeListCmd) Run(ctx context.Context, out io.Writer) error {
	var list struct{ Items []nodeView }
	raw, err := c.do(ctx, http.MethodGet, c.at("nodes"), nil, &list)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		t := table(out, "NAME", "ID", "STATE", "REVISION", "INSTANCES", "CALLS", "ERRORS")
		for _, n := range list.Items {
			t.row(n.Name, n.ID, n.State, n.Revision, n.Instances, n.Calls, n.Errors)
		}
		t.Flush()
	})
}

type nodeCallCmd struct {
	Server string `help:"Address of the server." default:"http://127.0.0.1:8888" placeholder:"URL"`
	Name   string `arg:"" help:"ID of the node, NODE@REVISION for one of its revisions; or ID of an alias."`
	Input  string `arg:"" optional:"" help:"The inputs as a JSON object; - reads them from the input." default:"{}"`
	Alias  bool   `help:"It is an alias."`
	Target string `help:"Target of the alias to call, NODE@REVISION, also one of 0 %."`
	Key    string `help:"Key of the node or alias. Others on this machine may see it on a command line: rather set the variable CELLAR_KEY." required:"" placeholder:"KEY"`
}

func (c *nodeCallCmd) Run(ctx context.Context, out io.Writer) error {
	body := []byte(c.Input)
	if c.Input == "-" {
		var err error
		if body, err = io.ReadAll(io.LimitReader(os.Stdin, maxAnswer)); err != nil {
			return err
		}
	}
	if !json.Valid(body) {
		return errors.New("the inputs are not JSON")
	}
	kind := "/nodes/"
	if c.Alias {
		kind = "/aliases/"
	}
	header := http.Header{}
	if c.Target != "" {
		header.Set("Cellar-Target", c.Target)
	}
	answer, err := remote{Server: c.Server}.send(ctx, c.Key, http.MethodPost, kind+url.PathEscape(c.Name)+"/execute", body, header)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.TrimSpace(string(answer)))
	return err
}

type nodeRevisionsCmd struct {
	inProject
	Name string `arg:"" help:"Name or ID of the node."`
}

func (c *nodeRevisionsCmd) Run(ctx context.Context, out io.Writer) error {
	var list struct {
		Items []struct {
			Number                                      int
			Current                                     bool
			Notebook, Cell, Configuration, Author, Note string
			CreatedAt                                   time.Time `json:"created_at"`
		}
	}
	raw, err := c.do(ctx, http.MethodGet, c.at("nodes", c.Name, "revisions"), nil, &list)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() {
		t := table(out, "", "REVISION", "MADE", "BY", "FROM", "CONFIGURATION", "NOTE")
		for _, r := range list.Items {
			mark := ""
			if r.Current {
				mark = "*"
			}
			t.row(mark, r.Number, r.CreatedAt.Local().Format("2006-01-02 15:04"), r.Author, r.Notebook+" "+r.Cell, r.Configuration, r.Note)
		}
		t.Flush()
	})
}

type nodeRollbackCmd struct {
	inProject
	Name     string `arg:"" help:"Name or ID of the node."`
	Revision int    `arg:"" optional:"" help:"Number of the revision; the newest one older than the current one if left out."`
}

func (c *nodeRollbackCmd) Run(ctx context.Context, out io.Writer) error {
	in := map[string]int{}
	if c.Revision != 0 {
		in["revision"] = c.Revision
	}
	var n nodeView
	raw, err := c.begin(ctx, http.MethodPost, c.at("nodes", c.Name, "rollback"), in, &n)
	if err != nil {
		return err
	}
	return c.print(out, raw, func() { fmt.Fprintf(out, "Revision %d of %s is current.\n", n.Revision, n.Name) })
}

type nodePauseCmd struct {
	inProject
	Name string `arg:"" help:"Name or ID of the node."`
}

func (c *nodePauseCmd) Run(ctx context.Context, out io.Writer) error {
	return c.deed(ctx, out, c.Name, "pause", "%s is paused.\n")
}

type nodeResumeCmd struct{ nodePauseCmd }

func (c *nodeResumeCmd) Run(ctx context.Context, out io.Writer) error {
	return c.deed(ctx, out, c.Name, "resume", "%s takes calls again.\n")
}

func (r inProject) deed(ctx context.Context, out io.Writer, name, deed, told string) error {
	var n nodeView
	raw, err := r.do(ctx, http.MethodPost, r.at("nodes", name, deed), nil, &n)
	if err != nil {
		return err
	}
	return r.print(out, raw, func() { fmt.Fprintf(out, told, n.Name) })
}

type nodeDeleteCmd struct {
	inProject
	Name string `arg:"" help:"Name or ID of the node; NODE@REVISION for one revision."`
}

func (c *nodeDeleteCmd) Run(ctx context.Context, out io.Writer) error {
	name, revision, one := strings.Cut(c.Name, "@")
	at := c.at("nodes", name)
	if one {
		at = c.at("nodes", name, "revisions", revision)
	}
	if _, err := c.do(ctx, http.MethodDelete, at, nil, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%s is deleted.\n", c.Name)
	return err
}

// aligned writes rows in columns.
type aligned struct{ *tabwriter.Writer }

func table(w io.Writer, head ...any) aligned {
	t := aligned{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(head...)
	return t
}

func (t aligned) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f { // what a person named must not steer the terminal
				return ' '
			}
			return r
		}, fmt.Sprint(c))
	}
	fmt.Fprintln(t, strings.TrimRight(strings.Join(text, "\t"), "\t"))
}
