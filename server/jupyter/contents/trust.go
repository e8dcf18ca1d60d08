package contents

import (
	"crypto/sha256"
	"encoding/hex"
)

// Sum names the outputs of a cell, wherever the cell is.
type Sum [sha256.Size]byte

// Trust is what a person has seen made, or said to be good: outputs whose HTML and scripts a browser
// may show as they are. They would act as that person, so a file alone earns none: a kernel writes
// files, and people bring them from elsewhere.
type Trust interface {
	Knows(Sum) bool
	Learn([]Sum) error
	// Own says that what kernels here say is this person's own doing.
	Own() bool
}

// harmless are the types of output that cannot do anything.
var harmless = map[string]bool{"text/plain": true, "image/png": true, "image/jpeg": true}

// sumOf names the outputs of a code cell; ok says whether there is anything in them to be trusted.
func sumOf(cell *value) (s Sum, ok bool) {
	if cell.get("cell_type").str() != "code" {
		return s, false
	}
	outputs := cell.get("outputs")
	if !outputs.is(kindArray) {
		return s, false
	}
	for i := range outputs.kids {
		switch outputs.kids[i].get("output_type").str() {
		case "stream", "error":
			continue
		}
		eachMember(outputs.kids[i].get("data"), func(m *value) { ok = ok || !harmless[string(m.key)] })
	}
	if ok {
		plain := value{kind: kindArray, kids: outputs.kids} // as nbformat writes it: the order of names does not count
		s = sha256.Sum256(plain.appendIndented(nil, 0))
	}
	return s, ok
}

// sumsOf names the outputs of all cells by the cells' IDs.
func sumsOf(nb *value) map[string]Sum {
	out := map[string]Sum{}
	cells := nb.get("cells").kids
	for i := range cells {
		if s, ok := sumOf(&cells[i]); ok {
			out[cells[i].get("id").str()] = s
		}
	}
	return out
}

// distrust takes away what a file says of itself.
func distrust(nb *value) {
	cells := nb.get("cells").kids
	for i := range cells {
		cells[i].get("metadata").drop("trusted")
	}
}

// mark tells a browser which cells it may show as they are. Outputs that are not in the file came from
// the hub's own record of a kernel.
func mark(nb *value, inFile map[string]Sum, trust Trust) error {
	cells := nb.get("cells").kids
	var learnt []Sum
	for i := range cells {
		if cells[i].get("cell_type").str() != "code" {
			continue
		}
		good := true
		if s, ok := sumOf(&cells[i]); ok && trust != nil {
			if good = trust.Knows(s); !good && trust.Own() && inFile != nil && inFile[cells[i].get("id").str()] != s {
				good, learnt = true, append(learnt, s)
			}
		}
		word := "false"
		if good {
			word = "true"
		}
		cells[i].get("metadata").set("trusted", literal(word))
	}
	if len(learnt) == 0 {
		return nil
	}
	return trust.Learn(learnt)
}

// learn takes note of what a client that saves a notebook trusts: the cells it marks, as far as what is
// saved is what it has. Where the hub's record of a run was laid over it, that is the person's own, or not.
func learn(saved, sent map[string]Sum, trusted map[string]bool, trust Trust) error {
	if trust == nil {
		return nil
	}
	var learnt []Sum
	for id, s := range saved {
		if trust.Knows(s) {
			continue
		}
		if same := sent[id] == s; same && trusted[id] || !same && trust.Own() {
			learnt = append(learnt, s)
		}
	}
	if len(learnt) == 0 {
		return nil
	}
	return trust.Learn(learnt)
}

// markedTrusted are the cells that a client trusts, by ID.
func markedTrusted(nb *value) map[string]bool {
	out := map[string]bool{}
	cells := nb.get("cells").kids
	for i := range cells {
		if v := cells[i].get("metadata").get("trusted"); v.is(kindLiteral) && string(v.text) == "true" {
			out[cells[i].get("id").str()] = true
		}
	}
	return out
}

// TrustAll trusts a notebook as it is in its file: a person says so.
func (t *Tree) TrustAll(p string, trust Trust) error {
	place, err := t.place(p)
	if err != nil {
		return err
	}
	data, _, err := t.read(place)
	if err != nil {
		return err
	}
	nb, err := parseNotebook(data)
	if err != nil || trust == nil {
		return err
	}
	var all []Sum
	for _, s := range sumsOf(&nb) {
		all = append(all, s)
	}
	return trust.Learn(all)
}

func (s Sum) String() string { return hex.EncodeToString(s[:]) }
