package store

import (
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
)

func TestShares(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	ok(t, s.AddUser(ctx, hub.User{ID: "u", Name: "ada"}))
	ok(t, s.AddUser(ctx, hub.User{ID: "v", Name: "bob"}))
	for _, id := range []string{"p", "q"} {
		_, err := s.AddProject(ctx, hub.Project{ID: id, Name: id, Owner: "u"})
		ok(t, err)
	}
	ok(t, s.PutCheckpoint(ctx, hub.Checkpoint{ID: "c", Project: "p", Kernel: "k", CreatedAt: time.UnixMilli(1)}))
	put := func(id, project, checkpoint, notebook string, people ...string) error {
		audience := hub.AudienceAnyone
		if len(people) > 0 {
			audience = hub.AudienceNamed
		}
		return s.AddShare(ctx, hub.Share{ID: id, Project: project, Checkpoint: checkpoint, Notebook: notebook, Hash: []byte(id), Name: id, Audience: audience, People: people, Copies: hub.CopyNotebook, CreatedAt: time.UnixMilli(5), ExpiresAt: time.UnixMilli(9)}, 6)
	}
	ok(t, put("1", "p", "", "a/b.ipynb"))
	ok(t, put("2", "p", "", "a/%.ipynb", "v", "u"))
	ok(t, put("3", "p", "c", "a/b.ipynb"))
	ok(t, put("4", "q", "", "a/b.ipynb", "u"))
	ok(t, put("5", "p", "", "ab/b.ipynb"))
	class(t, "a checkpoint that is gone", put("6", "p", "none", "x.ipynb"), fault.NotFound)
	class(t, "a project that is gone", put("6", "none", "", "x.ipynb"), fault.NotFound)
	class(t, "one secret for two", put("1", "p", "", "x.ipynb"), fault.Conflict)
	ok(t, put("7", "p", "", "c.ipynb"))
	ok(t, put("8", "p", "", "c.ipynb"))
	class(t, "too many", put("9", "p", "", "c.ipynb"), fault.Exhausted)

	one, err := s.ShareByHash(ctx, []byte("2"))
	ok(t, err)
	same(t, "people", len(one.People), 2)
	same(t, "expiry", one.ExpiresAt.UnixMilli(), int64(9))
	list, err := s.SharesFor(ctx, "v")
	ok(t, err)
	same(t, "for bob", len(list), 1)

	ok(t, s.OpenedShares(ctx, map[string]hub.Opens{"1": {Opened: 2, OpenedAt: time.UnixMilli(50)}, "gone": {Opened: 1}}))
	ok(t, s.OpenedShares(ctx, map[string]hub.Opens{"1": {Opened: 1, OpenedAt: time.UnixMilli(40)}}))
	one, err = s.Share(ctx, "1")
	ok(t, err)
	same(t, "opened", one.Opened, int64(3))
	same(t, "last", one.OpenedAt.UnixMilli(), int64(50))

	where := func(id string) string {
		v, err := s.Share(ctx, id)
		if err != nil {
			return "gone"
		}
		return v.Notebook
	}
	ok(t, s.MoveShares(ctx, "p", "a", "é/z"))
	ok(t, s.MoveShares(ctx, "p", "nowhere", "x"))
	for id, want := range map[string]string{"1": "é/z/b.ipynb", "2": "é/z/%.ipynb", "3": "a/b.ipynb", "4": "a/b.ipynb", "5": "ab/b.ipynb"} {
		same(t, "moved "+id, where(id), want)
	}
	ok(t, s.MoveShares(ctx, "p", "é/z/%.ipynb", "m.ipynb"))
	same(t, "a name with a wildcard", where("1")+" "+where("2"), "é/z/b.ipynb m.ipynb")
	ok(t, s.DropShares(ctx, "p", "é"))
	same(t, "a folder that is deleted", where("1")+" "+where("2"), "gone m.ipynb")
	ok(t, s.DeleteCheckpoint(ctx, "c"))
	same(t, "a checkpoint that is deleted", where("3"), "gone")
	class(t, "of another project", s.DeleteShare(ctx, "p", "4"), fault.NotFound)
	ok(t, s.DeleteShare(ctx, "q", "4"))
	same(t, "revoked", where("4"), "gone")
	ok(t, s.DeleteProject(ctx, "p"))
	same(t, "a project that is deleted", where("5"), "gone")
}
