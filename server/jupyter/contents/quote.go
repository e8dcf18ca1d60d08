package contents

import "encoding/binary"

// str reads a string and answers what is between its quotes, in canonical form.
func (p *parser) str() ([]byte, error) {
	text, plain, err := p.raw()
	if err == nil && !plain {
		text = canonical(text)
	}
	return text, err
}

// raw reads a string and answers what is between its quotes; plain says that this is in canonical
// form already.
func (p *parser) raw() (text []byte, plain bool, err error) {
	p.at++
	start := p.at
	plain = true
	for {
		p.at += ordinary(p.in[p.at:])
		if p.at == len(p.in) {
			return nil, false, p.fail("a string does not end")
		}
		switch c := p.in[p.at]; {
		case c == '"':
			p.at++
			return p.in[start : p.at-1], plain, nil
		case c < 0x20:
			return nil, false, p.fail("a control character stands in a string")
		case c == '\\':
			ok, simple := p.escape()
			if !ok {
				return nil, false, p.fail("the escape in a string is not known")
			}
			plain = plain && simple
		}
	}
}

// ordinary counts the bytes before the first that means something within a string.
func ordinary(text []byte) (n int) {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(text)-n >= 8; n += 8 { // eight at a time: a byte below 0x20, a quote or a backslash sets a top bit
		w := binary.LittleEndian.Uint64(text[n:])
		quote, back := w^(ones*'"'), w^(ones*'\\')
		if ((w-ones*0x20)&^w|(quote-ones)&^quote|(back-ones)&^back)&tops != 0 {
			break
		}
	}
	for n < len(text) && !inString[text[n]] {
		n++
	}
	return n
}

// inString are the bytes that mean something within a string.
var inString = func() (t [256]bool) {
	for c := range byte(0x20) {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// escape steps over one escape; simple says that it is in canonical form already.
func (p *parser) escape() (ok, simple bool) {
	if p.at+1 >= len(p.in) {
		return false, false
	}
	switch p.in[p.at+1] {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		p.at += 2
		return true, true
	case '/':
		p.at += 2
		return true, false
	case 'u':
		if p.at+6 > len(p.in) {
			return false, false
		}
		for _, c := range p.in[p.at+2 : p.at+6] {
			if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
				return false, false
			}
		}
		p.at += 6
		return true, false
	}
	return false, false
}
