package hub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cellar/kernel"
)

func TestTheLineIsFair(t *testing.T) {
	q := newLine(nil)
	at := time.Now()
	for i, user := range []string{"ada", "ada", "ada", "bob", "cyd", "bob"} {
		id := kernel.ID(fmt.Sprint(user, i))
		q.places[id] = &place{id: id, user: user, since: at.Add(time.Duration(i) * time.Second)}
	}
	order := func() (out []string) {
		for _, p := range q.waiting() {
			out = append(out, string(p.id))
		}
		return out
	}
	if got, want := order(), []string{"ada0", "bob3", "cyd4", "ada1", "bob5", "ada2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// Whoever was served last comes after the others, however early the kernel came.
	q.turn["ada"], q.turns = 7, 7
	if got, want := order(), []string{"bob3", "cyd4", "ada0", "bob5", "ada1", "ada2"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestEverybodyIsServed: whoever comes and goes, of one person the first is first,
// and between two turns of a person everybody else who waits has one.
func TestEverybodyIsServed(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 64))
		q, at := newLine(nil), time.Now()
		last := map[string]kernel.ID{}
		for i := range 400 {
			if rnd.IntN(2) == 0 || len(q.places) == 0 {
				user := fmt.Sprint("u", rnd.IntN(4))
				id := kernel.ID(fmt.Sprintf("%s-%04d", user, i))
				q.places[id] = &place{id: id, user: user, since: at.Add(time.Duration(i) * time.Second)}
				continue
			}
			list := q.waiting()
			first := list[0]
			for _, p := range list {
				if p.user == first.user && p.id < first.id {
					t.Fatalf("seed %d: %s before %s", seed, first.id, p.id)
				}
				if p.user != first.user && q.turn[p.user] < q.turn[first.user] {
					t.Fatalf("seed %d: %s again, and %s waits", seed, first.user, p.user)
				}
			}
			q.turns++
			q.turn[first.user] = q.turns
			delete(q.places, first.id)
			last[first.user] = first.id
		}
		if len(last) != 4 {
			t.Errorf("seed %d: served were %v", seed, last)
		}
	}
}
