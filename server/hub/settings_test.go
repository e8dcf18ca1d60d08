package hub_test

import (
	"errors"
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
)

func TestSettings(t *testing.T) {
	h, ctx := people(t), t.Context()
	h.IdleAfter = 10 * time.Minute
	ada, _, _ := h.AddUser(ctx, "ada", false)
	p, err := h.Store.AddProject(ctx, hub.Project{ID: "p", Name: "P", Owner: ada.ID, CreatedAt: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) *string { return &s }
	idle := func(d time.Duration) *time.Duration { return &d }
	for name, c := range map[string]struct {
		change hub.Settings
		code   string
		want   hub.Settings
	}{
		"nothing":             {hub.Settings{}, "", hub.Settings{Name: text("P"), Autosave: text(""), Idle: idle(0)}},
		"all":                 {hub.Settings{Name: text(" Q "), Autosave: text("cell"), Idle: idle(time.Minute)}, "", hub.Settings{Name: text("Q"), Autosave: text("cell"), Idle: idle(time.Minute)}},
		"no name":             {hub.Settings{Name: text(" ")}, "name_missing", hub.Settings{}},
		"an unknown word":     {hub.Settings{Autosave: text("often")}, "bad_autosave", hub.Settings{}},
		"too short":           {hub.Settings{Idle: idle(time.Second)}, "idle_too_short", hub.Settings{}},
		"negative":            {hub.Settings{Idle: idle(-time.Hour)}, "idle_too_short", hub.Settings{}},
		"over the operator's": {hub.Settings{Idle: idle(time.Hour)}, "idle_too_long", hub.Settings{}},
	} {
		got, err := h.ChangeProject(ctx, p, c.change)
		if fault.CodeOf(err) != c.code || c.code != "" && !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		stored, _ := h.Store.Project(ctx, "p")
		if c.code != "" {
			continue
		}
		if got.Name != *c.want.Name || got.Autosave != *c.want.Autosave || got.Idle != *c.want.Idle || stored != got {
			t.Errorf("%s: %+v, stored %+v", name, got, stored)
		}
		if _, err := h.ChangeProject(ctx, p, hub.Settings{Name: text("P"), Autosave: text(""), Idle: idle(0)}); err != nil {
			t.Fatal(err)
		}
	}
}
