package keep

import (
	"encoding/json"
	"fmt"
	"testing"
)

// asking is a connection that is told nothing but answers.
func asking(c *Client) <-chan Answer {
	got := make(chan Answer, 1)
	c.Answered = func(a Answer) { got <- a }
	go func() {
		defer close(got)
		for {
			if _, err := c.Next(); err != nil {
				return
			}
		}
	}()
	return got
}

// A question is answered to who asked, by their number, and leaves nothing in the
// journal; a kernel that takes no questions is answered for.
func TestAsk(t *testing.T) {
	k := keeper(t, "sh", "-c", `echo '{"ready":true,"answers":true}' >&4; while read -r line <&3; do
		n=${line#*:}; echo "{\"id\":999,\"answer\":1}{" >&4; echo "{\"id\":${n%%,*},\"answer\":{\"asked\":$line}}" >&4; done`)
	first, second := k.open(1), k.open(1)
	one, two := asking(first), asking(second)
	// The kernel is ready when it is: until then a question is answered with null.
	answer := func(c *Client, from <-chan Answer, id uint64) string {
		for {
			if err := c.Ask(Question{id, AskVariables}); err != nil {
				t.Fatal(err)
			}
			if a := <-from; a.ID != id {
				t.Fatalf("answer to %d, want %d", a.ID, id)
			} else if string(a.Answer) != "null" {
				return string(a.Answer)
			}
		}
	}
	var got struct{ Asked Question }
	if json.Unmarshal([]byte(answer(second, two, 7)), &got) != nil || got.Asked.Ask != AskVariables {
		t.Errorf("the kernel was asked %+v", got)
	}
	answer(first, one, 7)
	answer(first, one, 8)
	first.Do(OpDetach)
	for range one { // a connection made before that would be closed, too
	}
	if n := k.open(1).Hello.Next; n > 2 {
		t.Errorf("%d records in the journal, want the kernel's start alone", n-1)
	}
}

func TestNobodyToAsk(t *testing.T) {
	k := keeper(t)
	c := k.open(1)
	got := asking(c)
	c.Ask(Question{3, AskVariables})
	if a := <-got; a.ID != 3 || string(a.Answer) != "null" {
		t.Errorf("answer %d %s", a.ID, a.Answer)
	}
}

// Questions that are never answered take no room, and nobody waits for who does
// not take answers.
func TestAskBounds(t *testing.T) {
	var a asks
	to := make(chan Answer, 1)
	for i := range uint64(100) {
		if n := a.add(i, to); n != i+1 {
			t.Fatalf("number %d", n)
		}
	}
	if len(a.open) != maxAsked {
		t.Errorf("%d are open, want %d", len(a.open), maxAsked)
	}
	for n := range uint64(200) {
		a.answer(n, json.RawMessage(fmt.Sprint(n)))
	}
	if got := <-to; got.ID != 100-maxAsked || len(a.open) != 0 {
		t.Errorf("the first answer is to %d, %d are open", got.ID, len(a.open))
	}
}
