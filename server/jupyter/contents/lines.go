package contents

import "bytes"

// Most of a notebook's bytes are lists of lines. A value for each line would cost more than the line,
// so such a list stays as it was written until somebody looks into it.

// lines reads the items and the end of an array of strings; ok is false, and nothing was read, when it
// holds anything else, or strings that have to be rewritten.
func (p *parser) lines() (v value, ok bool) {
	start, count := p.at, p.count
	defer func() {
		if !ok {
			p.at, p.count = start, count
		}
	}()
	for {
		if p.count++; p.count > maxValues || p.peek() != '"' {
			return v, false
		}
		if _, plain, err := p.raw(); err != nil || !plain {
			return v, false
		}
		switch p.peek() {
		case ',':
			p.at++
		case ']':
			p.at++
			return value{kind: kindLines, text: p.in[start : p.at-1]}, true
		default:
			return v, false
		}
	}
}

// nextLine answers the first string of a list, without its quotes, and what follows it; nil: there is
// none.
func nextLine(list []byte) (line, rest []byte) {
	i := bytes.IndexByte(list, '"')
	if i < 0 {
		return nil, nil
	}
	list = list[i+1:]
	for end := 0; ; end++ {
		end += bytes.IndexByte(list[end:], '"')
		if !escaped(list[:end]) {
			return list[:end:end], list[end+1:]
		}
	}
}

// escaped says whether what follows a text is escaped by its end.
func escaped(text []byte) bool {
	n := len(text)
	for n > 0 && text[n-1] == '\\' {
		n--
	}
	return (len(text)-n)%2 == 1
}

// appendJoined appends the items of a list of strings as one text.
func (v *value) appendJoined(out []byte) []byte {
	for line, rest := nextLine(v.text); line != nil; line, rest = nextLine(rest) {
		out = append(out, line...)
	}
	return out
}

// settle gives a joined string its text, for those who look into it.
func (v *value) settle() {
	if v.kind == kindJoined {
		v.kind, v.text = kindString, v.appendJoined(make([]byte, 0, len(v.text)))
	}
}

// takeApart gives a list of strings its items, for those who look into it.
func (v *value) takeApart() {
	if v == nil || v.kind != kindLines {
		return
	}
	var kids []value
	for line, rest := nextLine(v.text); line != nil; line, rest = nextLine(rest) {
		kids = append(kids, value{kind: kindString, text: line})
	}
	*v = value{kind: kindArray, key: v.key, kids: kids}
}

// appendLines appends the items of a list of strings, each on a line of its own at a depth; below 0:
// without any space.
func (v *value) appendLines(out []byte, depth int) []byte {
	if len(v.text) == 0 {
		return out
	}
	next := nextLine
	if v.kind == kindSplit {
		next = cutLine
		if bytes.IndexByte(v.text, 0xc2) >= 0 || bytes.IndexByte(v.text, 0xe2) >= 0 {
			next = cutRareLine
		}
	}
	between := []byte{','}
	if depth >= 0 {
		between = newline(between, depth)
		out = append(out, between[1:]...)
	}
	between = append(append([]byte{'"'}, between...), '"')
	line, rest := next(v.text)
	out = append(append(out, '"'), line...)
	for line, rest = next(rest); line != nil; line, rest = next(rest) {
		out = append(append(out, between...), line...)
	}
	return append(out, '"')
}

// cutLine answers a canonical text's first line with its end, as Python's str.splitlines(True) does,
// and what follows it; nil: there is none. The text has no line ends outside ASCII.
func cutLine(text []byte) (line, rest []byte) {
	for i := 0; i < len(text); {
		n := bytes.IndexByte(text[i:], '\\')
		if n < 0 {
			break
		}
		i += n
		n, ends := lineEnd(text[i:])
		if i += n; ends {
			return text[:i:i], text[i:]
		}
	}
	if len(text) == 0 {
		return nil, nil
	}
	return text, nil
}

// cutRareLine is cutLine for a text that may have any line end.
func cutRareLine(text []byte) (line, rest []byte) {
	for i := 0; i < len(text); {
		if c := text[i]; c != '\\' && c != 0xc2 && c != 0xe2 {
			i++
			continue
		}
		n, ends := lineEnd(text[i:])
		if i += n; ends {
			return text[:i:i], text[i:]
		}
	}
	if len(text) == 0 {
		return nil, nil
	}
	return text, nil
}

// lineEnd steps over one character of canonical text and says whether it ends a line.
func lineEnd(text []byte) (n int, ends bool) {
	switch text[0] {
	case '\\':
		switch text[1] {
		case 'n', 'f':
			return 2, true
		case 'r':
			if len(text) >= 4 && text[2] == '\\' && text[3] == 'n' {
				return 4, true
			}
			return 2, true
		case 'u':
			switch hex4(text[2:]) {
			case 0x0b, 0x1c, 0x1d, 0x1e:
				return 6, true
			}
			return 6, false
		}
		return 2, false
	case 0xc2: // U+0085
		return 2, text[1] == 0x85
	case 0xe2: // U+2028, U+2029
		return 3, text[1] == 0x80 && (text[2] == 0xa8 || text[2] == 0xa9)
	}
	return 1, false
}
