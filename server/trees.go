package server

import (
	"context"
	"sync"

	"cellar/server/hub"
	"cellar/server/jupyter/contents"
)

// Trees keeps one open tree of contents for each project, as their locks live there.
type Trees struct {
	Dir func(project string) string

	Hub    *hub.Hub // whose projects they are
	trusts trusts

	mu     sync.Mutex
	open   map[string]*contents.Tree
	budget *contents.Budget
}

// Open returns the tree of a project.
func (t *Trees) Open(p hub.Project) (*contents.Tree, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := t.Dir(p.ID)
	if tree := t.open[p.ID]; tree != nil {
		if tree.IsOf(dir) {
			return tree, nil
		}
		// Opened in the name of a project that was being deleted, and there is another by that name.
		tree.Close()
		delete(t.open, p.ID)
	}
	if t.budget == nil {
		t.budget = contents.NewBudget()
	}
	tree, err := contents.Open(dir, contents.Owner{UID: p.FileOwner(), GID: p.FileOwner()}, contents.WithBudget(t.budget))
	if err != nil {
		return nil, err
	}
	if t.open == nil {
		t.open = map[string]*contents.Tree{}
	}
	t.open[p.ID] = tree
	return tree, nil
}

// Drop forgets the tree of a project that is deleted.
func (t *Trees) Drop(project string) {
	t.trusts.drop(project)
	t.mu.Lock()
	defer t.mu.Unlock()
	if tree := t.open[project]; tree != nil {
		tree.Close()
		delete(t.open, project)
	}
}

// Update implements hub.Notebooks.
func (t *Trees) Update(_ context.Context, p hub.Project, path string, fn func([]byte) ([]byte, error)) error {
	tree, err := t.Open(p)
	if err != nil {
		return err
	}
	return tree.UpdateNotebook(path, t.trusts.of(t.Hub, p, p.Owner), fn)
}

// Add implements hub.Notebooks.
func (t *Trees) Add(_ context.Context, p hub.Project, path string, nb []byte) (string, error) {
	tree, err := t.Open(p)
	if err != nil {
		return "", err
	}
	m, err := tree.AddNotebook(path, t.trusts.of(t.Hub, p, p.Owner), nb)
	if err != nil {
		return "", err
	}
	return m.Path, nil
}

// AddForeign implements hub.Notebooks.
func (t *Trees) AddForeign(_ context.Context, p hub.Project, path string, nb []byte) (string, error) {
	tree, err := t.Open(p)
	if err != nil {
		return "", err
	}
	m, err := tree.AddNotebook(path, nil, nb)
	if err != nil {
		return "", err
	}
	return m.Path, nil
}

// PutForeign implements hub.Notebooks.
func (t *Trees) PutForeign(_ context.Context, p hub.Project, path string, nb []byte) error {
	tree, err := t.Open(p)
	if err != nil {
		return err
	}
	return tree.UpdateNotebook(path, nil, func([]byte) ([]byte, error) { return nb, nil })
}

// Read implements hub.Notebooks.
func (t *Trees) Read(_ context.Context, p hub.Project, path string) ([]byte, error) {
	tree, err := t.Open(p)
	if err != nil {
		return nil, err
	}
	m, err := tree.Get(path, contents.Want{Type: contents.Notebook, Content: true})
	if err != nil {
		return nil, err
	}
	return m.Content, nil
}
