package node

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// Share is a part of an alias's calls, and what answers them.
type Share struct {
	Node     string `json:"node" doc:"its ID"`
	Revision int    `json:"revision,omitempty" minimum:"0" doc:"0 or left out: the node's current one"`
	Percent  int    `json:"percent" minimum:"0" maximum:"100" doc:"of 0 % only calls that ask for it by the header Cellar-Target"`
}

// maxShares is how many targets an alias may have.
const maxShares = 20

// Target is how a share is named: NODE@REVISION, or NODE for its current one.
func (s Share) Target() string {
	if s.Revision == 0 {
		return s.Node
	}
	return s.Node + "@" + strconv.Itoa(s.Revision)
}

// ParseTarget splits NODE@REVISION; revision 0 means none was named.
func ParseTarget(text string) (node string, revision int, err error) {
	node, number, named := strings.Cut(text, "@")
	if named {
		if revision, err = strconv.Atoi(number); err != nil || revision < 1 {
			return node, 0, fault.Newf(fault.Invalid, "revision_invalid", "%.20q is not the number of a revision.", number)
		}
	}
	return node, revision, nil
}

// CheckShares reports what is wrong with the shares of an alias.
func CheckShares(list []Share) error {
	if len(list) == 0 || len(list) > maxShares {
		return fault.Newf(fault.Invalid, "targets_number", "An alias leads to at least one target, and to %d at most.", maxShares)
	}
	sum := 0
	seen := map[string]bool{}
	for _, s := range list {
		switch {
		case s.Percent < 0 || s.Percent > 100:
			return fault.Newf(fault.Invalid, "percent_invalid", "%.100s: %d is not a percentage.", s.Target(), s.Percent)
		case seen[s.Target()]:
			return fault.Newf(fault.Invalid, "target_twice", "%.100s is named twice.", s.Target())
		}
		seen[s.Target()] = true
		sum += s.Percent
	}
	if sum != 100 {
		return fault.Newf(fault.Invalid, "percent_sum", "The percentages add up to %d, not to 100.", sum)
	}
	return nil
}

// Pick leads a call to a share; roll is a random number from 0 to 99.
func Pick(list []Share, roll int) Share {
	for _, s := range list {
		if roll -= s.Percent; roll < 0 {
			return s
		}
	}
	return slices.MaxFunc(list, func(a, b Share) int { return cmp.Compare(a.Percent, b.Percent) })
}
