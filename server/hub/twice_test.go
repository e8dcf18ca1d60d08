package hub

import (
	"strings"
	"testing"
)

// TestACellSentTwice, the second before the first has ended: when the client has
// saved what the second said, the first does not come back over it.
func TestACellSentTwice(t *testing.T) {
	j := newJournal(t)
	first, second := j.request("first", "a"), j.request("second", "a")
	for _, id := range []string{"first", "second"} {
		j.busy(id)
		j.print(id, "stdout", id)
		j.idle(id)
		j.b.byMsg[id].delivered = true
	}
	h, _ := liveWith(first, second)
	o := h.Overlay("p")
	o.Saving("x.ipynb", []byte(notebook))
	if out := o.Loaded("x.ipynb", []byte(notebook)); strings.Contains(cellText(t, out, 0), "first") {
		t.Errorf("the older run's output is over the newer's: %s", cellText(t, out, 0))
	}
}
