package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// Origin is the machine that a checkpoint was made on, as far as the processes in
// it depend on it: programs choose their instructions when they start.
type Origin struct {
	ID       string   `json:"-"`
	Arch     string   `json:"arch"`
	Features []string `json:"features"` // of the processor, sorted
	System   string   `json:"system"`   // release of the operating system's kernel
	CRIU     string   `json:"criu"`
}

// NewOrigin gives an origin its ID: the same for the same.
func NewOrigin(o Origin) Origin {
	b, _ := json.Marshal(o)
	sum := sha256.Sum256(b)
	o.ID = hex.EncodeToString(sum[:10])
	return o
}

// lacks lists the processor's features that then had and now has not.
func (o Origin) lacks(then Origin) (missing []string) {
	for _, f := range then.Features {
		if _, has := slices.BinarySearch(o.Features, f); !has {
			missing = append(missing, f)
		}
	}
	return missing
}

// openOrigins takes note of this machine and of those that checkpoints come from.
func (h *Hub) openOrigins(ctx context.Context) (err error) {
	if h.Origin.ID != "" {
		if err := h.Store.AddOrigin(ctx, h.Origin); err != nil {
			return err
		}
	}
	h.origins, err = h.Store.Origins(ctx)
	return err
}

// mayThaw refuses to thaw what would end at its first instruction that this
// machine's processor does not know.
func (h *Hub) mayThaw(c Checkpoint) error {
	then, known := h.origins[c.Origin]
	if !known || h.Origin.ID == "" {
		return nil
	}
	if then.Arch != h.Origin.Arch {
		return fault.Newf(fault.Unavailable, "other_processor", "This state was kept on another kind of processor (%s) than this machine's (%s). %s", then.Arch, h.Origin.Arch, elsewhereOnly)
	}
	if missing := h.Origin.lacks(then); len(missing) > 0 {
		return fault.Newf(fault.Unavailable, "other_processor", "This state was kept on a processor with %s, which this machine's does not have; programs in it use that. %s", few(missing), elsewhereOnly)
	}
	return nil
}

const elsewhereOnly = "Bring it back on a machine that has it. Variables that were kept one by one can be applied here."

// few names some of a list.
func few(list []string) string {
	const most = 4
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// Thaws says of many checkpoints whether they can be thawed on a machine.
type Thaws struct {
	All, Variables, Unknown int
	// Not are those that cannot, by reason.
	Not map[string]int
	// Doubtful are those that were made with a newer CRIU or Linux, by reason.
	Doubtful map[string]int
}

// Outlook looks at checkpoints as the database has them. hasImage and data, the
// data folder, tell what is still there; hasImage may be nil.
func Outlook(list []Checkpoint, origins map[string]Origin, here Origin, data string, hasImage func(string) bool) Thaws {
	t := Thaws{Not: map[string]int{}, Doubtful: map[string]int{}}
	machine := &Hub{Config: Config{Origin: here}, origins: origins}
	images, parts := map[string]bool{}, map[string]bool{}
	once := func(known map[string]bool, key string, look func() bool) bool {
		is, ok := known[key]
		if !ok {
			is = look()
			known[key] = is
		}
		return is
	}
	for _, c := range list {
		t.All++
		then, known := origins[c.Origin]
		switch {
		case c.Kind == KindVariables:
			t.Variables++
		case machine.mayThaw(c) != nil:
			t.Not["another processor"]++
		case hasImage != nil && !once(images, c.Image, func() bool { return hasImage(c.Image) }):
			t.Not["the image "+c.Image+" is gone"]++
		case !once(parts, c.Parts, func() bool {
			st, err := os.Stat(filepath.Join(data, "parts", c.Parts))
			return err == nil && st.IsDir()
		}):
			t.Not["the keeper "+c.Parts+" is gone"]++
		case !known:
			t.Unknown++
		case older(here.CRIU, then.CRIU):
			t.Doubtful["made by CRIU "+then.CRIU]++
		case older(here.System, then.System):
			t.Doubtful["made on Linux "+then.System]++
		}
	}
	return t
}

// older compares the numbers that versions begin with.
func older(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	return slices.Compare(numbers(a), numbers(b)) < 0
}

func numbers(version string) (out []int) {
	for part := range strings.FieldsFuncSeq(version, func(r rune) bool { return r == '.' || r == '-' || r == '+' }) {
		n, err := strconv.Atoi(part)
		if err != nil || len(out) == 3 {
			break
		}
		out = append(out, n)
	}
	return out
}
