package store

import (
	"testing"
	"time"

	"cellar/internal/fault"
	"cellar/server/hub"
)

func TestWebhooks(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	addProject(t, s, "a")
	addProject(t, s, "b")
	w := hub.Webhook{Project: "a", URL: "https://x", Secret: "s", Minimal: 1500 * time.Millisecond, OnlyFailures: true, CreatedAt: now, UpdatedAt: now}
	ok(t, s.PutWebhook(ctx, w))
	later := w
	later.URL, later.Minimal, later.OnlyFailures, later.UpdatedAt, later.CreatedAt = "https://y", 0, false, now.Add(time.Hour), now.Add(time.Hour)
	ok(t, s.PutWebhook(ctx, later))
	later.CreatedAt = now // of the first
	list, err := s.Webhooks(ctx)
	ok(t, err)
	same(t, "changed", list, []hub.Webhook{later})

	d := hub.Delivery{ID: "d1", Project: "a", State: hub.DeliveryPending, Body: []byte("{}"), Due: now, CreatedAt: now}
	ok(t, s.AddDelivery(ctx, d, 1))
	class(t, "the same run again", s.AddDelivery(ctx, d, 9), fault.Conflict)
	other := d
	other.ID = "d2"
	class(t, "too many", s.AddDelivery(ctx, other, 1), fault.Exhausted)
	other.State = hub.DeliverySkipped
	ok(t, s.AddDelivery(ctx, other, 1)) // it does not wait
	theirs := d
	theirs.ID, theirs.Project, theirs.Due = "d3", "b", now.Add(-time.Second)
	ok(t, s.AddDelivery(ctx, theirs, 1))
	second := d
	second.ID, second.Due = "d4", now.Add(time.Minute)
	ok(t, s.AddDelivery(ctx, second, 9))
	pending, err := s.PendingDeliveries(ctx)
	ok(t, err)
	same(t, "the first of each project, the earliest first", pending, []hub.Delivery{theirs, d})

	d.State, d.Attempts, d.At, d.Status, d.Error = hub.DeliveryDone, 2, now.Add(time.Second), 200, "x"
	ok(t, s.PutDelivery(ctx, d))
	class(t, "one that is not there", s.PutDelivery(ctx, hub.Delivery{ID: "none"}), fault.NotFound)
	last, err := s.LastDelivery(ctx, "a")
	ok(t, err)
	if last.ID != "d1" && last.ID != "d4" {
		t.Errorf("the newest: %+v", last)
	}
	pending, err = s.PendingDeliveries(ctx)
	ok(t, err)
	same(t, "the next", pending, []hub.Delivery{theirs, second})

	class(t, "none to delete", s.DeleteWebhook(ctx, "b"), fault.NotFound)
	ok(t, s.DeleteWebhook(ctx, "a"))
	pending, err = s.PendingDeliveries(ctx)
	ok(t, err)
	same(t, "what waited went with it", pending, []hub.Delivery{theirs})
	ok(t, s.PruneDeliveries(ctx, now.Add(time.Hour)))
	if _, err := s.LastDelivery(ctx, "b"); err == nil {
		t.Error("old ones stay")
	}
	ok(t, s.AddDelivery(ctx, theirs, 1))
	ok(t, s.DeleteProject(ctx, "b"))
	class(t, "with its project", s.PutDelivery(ctx, theirs), fault.NotFound)
	if s.AddDelivery(ctx, hub.Delivery{ID: "d9", Project: "none", Body: []byte{}}, 9) == nil {
		t.Error("of a project that is not there")
	}
}
