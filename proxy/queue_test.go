package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cellar/kernel/wire"
)

func item(text string) Item {
	return Item{wire.IOPub, &wire.Message{Header: []byte(`{"msg_type":"stream"}`), Content: fmt.Appendf(nil, "{%q:1}", text)}}
}

func pop(t *testing.T, q *Queue) (out []string) {
	t.Helper()
	items, err := q.Pop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range items {
		out = append(out, string(i.Message.Content))
	}
	return out
}

func contents(items ...string) (out []string) {
	for _, s := range items {
		out = append(out, fmt.Sprintf("{%q:1}", s))
	}
	return out
}

func TestQueueGivesInOrder(t *testing.T) {
	q := NewQueue(1 << 20)
	for _, s := range []string{"a", "b", "c"} {
		q.Push(item(s))
	}
	if got := pop(t, q); !slices.Equal(got, contents("a", "b", "c")) {
		t.Errorf("got %q", got)
	}
	q.Push(item("d"))
	if got := pop(t, q); !slices.Equal(got, contents("d")) {
		t.Errorf("got %q", got)
	}
}

func TestPopWaits(t *testing.T) {
	q := NewQueue(1 << 20)
	got := make(chan []Item, 1)
	go func() {
		items, _ := q.Pop(context.Background())
		got <- items
	}()
	q.Push(item("a"))
	if items := <-got; len(items) != 1 {
		t.Errorf("got %v", items)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Pop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOverTheLimitAQueueRefuses(t *testing.T) {
	q := NewQueue(2 * item("a").size())
	var took []bool
	for _, s := range []string{"a", "b", "c"} { // two are exactly the limit
		took = append(took, q.Push(item(s)))
	}
	if !slices.Equal(took, []bool{true, true, false}) {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Room(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a full queue has room: %v", err)
	}
	if got := pop(t, q); !slices.Equal(got, contents("a", "b")) {
		t.Errorf("got %q", got)
	}
	if err := q.Room(ctx); err != nil {
		t.Errorf("an empty queue has none: %v", err)
	}
	if !q.Push(item(strings.Repeat("long", 100))) {
		t.Error("an empty queue refuses what is larger than it")
	}
}

func TestRoomWaits(t *testing.T) {
	q := NewQueue(item("a").size())
	q.Push(item("a"))
	got := make(chan error, 1)
	go func() { got <- q.Room(context.Background()) }()
	pop(t, q)
	if err := <-got; err != nil {
		t.Error(err)
	}
	q.Push(item("a"))
	go func() { got <- q.Room(context.Background()) }()
	q.Close(ErrSlow)
	if err := <-got; !errors.Is(err, ErrSlow) {
		t.Errorf("room in a queue that has ended: %v", err)
	}
}

func TestCloseGivesWhatIsLeft(t *testing.T) {
	q := NewQueue(1 << 20)
	q.Push(item("a"))
	q.Close(ErrClosed)
	q.Close(ErrSlow) // the first reason stands
	q.Push(item("too late"))
	if got := pop(t, q); !slices.Equal(got, contents("a")) {
		t.Errorf("got %q", got)
	}
	if _, err := q.Pop(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestUnpopComesFirst(t *testing.T) {
	q := NewQueue(1 << 20)
	for _, s := range []string{"a", "b", "c"} {
		q.Push(item(s))
	}
	items, _ := q.Pop(t.Context())
	q.Push(item("d"))
	q.Unpop(items[1:])
	if got := pop(t, q); !slices.Equal(got, contents("b", "c", "d")) {
		t.Errorf("got %q", got)
	}
}

func TestUnpoppedItemsCount(t *testing.T) {
	q := NewQueue(2 * item("a").size())
	q.Push(item("a"))
	q.Push(item("b"))
	items, _ := q.Pop(t.Context())
	q.Unpop(items)
	if q.Push(item("c")) {
		t.Error("three items in a queue for two")
	}
}
