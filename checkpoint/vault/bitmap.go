package vault

// bitmap is a set of entries of one segment.
type bitmap struct {
	words []uint64
	count int
}

func (b *bitmap) has(entry uint32) bool {
	return b != nil && int(entry/64) < len(b.words) && b.words[entry/64]&(1<<(entry%64)) != 0
}

// set adds an entry and says whether it is new.
func (b *bitmap) set(entry uint32) bool {
	if n := int(entry/64) + 1; n > len(b.words) {
		b.words = append(b.words, make([]uint64, n-len(b.words))...)
	}
	bit := uint64(1) << (entry % 64)
	if b.words[entry/64]&bit != 0 {
		return false
	}
	b.words[entry/64] |= bit
	b.count++
	return true
}

func (b *bitmap) clone() *bitmap {
	return &bitmap{words: append([]uint64(nil), b.words...), count: b.count}
}

// each calls fn with every entry, ascending.
func (b *bitmap) each(fn func(entry uint32) error) error {
	for i, w := range b.words {
		for bit := range 64 {
			if w&(1<<bit) != 0 {
				if err := fn(uint32(i*64 + bit)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
