package vault

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Location is where a page is: the number of a segment and the number of an
// entry in it. The entry is 16 times its block and its place in the block.
// 0 is the page of zeros, which is nowhere.
type Location uint64

func at(segment, entry uint32) Location { return Location(segment)<<32 | Location(entry) }

func (l Location) segment() uint32 { return uint32(l >> 32) }
func (l Location) entry() uint32   { return uint32(l) }
func (l Location) block() uint32   { return uint32(l) / blockPages }
func (l Location) place() int      { return int(l % blockPages) }

func (l Location) String() string { return fmt.Sprintf("%08x:%x", l.segment(), l.entry()) }

// valid says whether l can be stored: zero, or in a segment that has a number.
func (l Location) valid() bool { return l == 0 || l.segment() != 0 && l.block() < maxBlocks }

const (
	fanBits   = 9
	fan       = 1 << fanBits // locations in a node
	maxHeight = 5            // 512^5 = 2^45 pages

	// MaxPages is the number of pages that an object can have.
	MaxPages = 1 << (fanBits * maxHeight)
)

// Object is a sequence of pages: a radix tree of nodes of 512 locations. At
// height 0 the root is the one page; the zero Object is empty.
type Object struct {
	Root   Location `json:"root"`
	Height uint8    `json:"height"`
	Size   uint64   `json:"size"` // bytes
}

const objectSize = 17 // bytes, encoded

func (o Object) check() error {
	if !o.Root.valid() || o.Height > maxHeight || o.Size > MaxPages*PageSize {
		return errors.New("an object that cannot be")
	}
	return nil
}

// covers says whether page n lies within the tree.
func (o Object) covers(n uint64) bool { return n>>(fanBits*uint(o.Height)) == 0 }

func appendObjects(b []byte, objects []Object) []byte {
	for _, o := range objects {
		b = binary.LittleEndian.AppendUint64(b, uint64(o.Root))
		b = append(b, o.Height)
		b = binary.LittleEndian.AppendUint64(b, o.Size)
	}
	return b
}

func parseObjects(b []byte) ([]Object, error) {
	if len(b)%objectSize != 0 {
		return nil, errors.New("objects of odd length")
	}
	objects := make([]Object, 0, len(b)/objectSize)
	for ; len(b) > 0; b = b[objectSize:] {
		o := Object{Root: Location(binary.LittleEndian.Uint64(b)), Height: b[8], Size: binary.LittleEndian.Uint64(b[9:])}
		if err := o.check(); err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// node is an inner node of an object: where its 512 children are.
type node [fan]Location

func parseNode(b []byte) (*node, error) {
	if len(b) != PageSize {
		return nil, errors.New("a node that is no page")
	}
	n := new(node)
	for i := range n {
		n[i] = Location(binary.LittleEndian.Uint64(b[8*i:]))
		if !n[i].valid() {
			return nil, fmt.Errorf("child %d has location %s", i, n[i])
		}
	}
	return n, nil
}

func (n *node) encode(b []byte) {
	for i, l := range n {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(l))
	}
}
