package contents

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The canonical form of a string's text is the one Python's json writes with ensure_ascii=False:
// only what must be escaped is, except that a lone surrogate stays an escape, for it has no UTF-8.

const hexDigits = "0123456789abcdef"

// canonical rewrites the text of a string, whose escapes are known to be well-formed.
func canonical(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			out = append(out, text[i])
			i++
			continue
		}
		switch text[i+1] {
		case '/':
			out = append(out, '/')
			i += 2
		case 'u':
			r, n := codepoint(text[i:])
			out = appendRune(out, r)
			i += n
		default:
			out = append(out, text[i], text[i+1])
			i += 2
		}
	}
	return out
}

// codepoint reads \uXXXX, or two of them that make one character, and says how many bytes it took.
func codepoint(text []byte) (rune, int) {
	r := hex4(text[2:])
	if utf16.IsSurrogate(r) && len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(text[8:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return r, 6
}

func hex4(text []byte) rune {
	n, _ := strconv.ParseUint(string(text[:4]), 16, 32)
	return rune(n)
}

func appendRune(out []byte, r rune) []byte {
	if r < utf8.RuneSelf {
		return appendText(out, []byte{byte(r)})
	}
	if utf16.IsSurrogate(r) {
		return append(out, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
	}
	return utf8.AppendRune(out, r)
}

// appendText appends plain UTF-8 as the text of a string.
func appendText(out, plain []byte) []byte {
	start := 0
	for i, c := range plain {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		out = append(out, plain[start:i]...)
		start = i + 1
		if k := bytes.IndexByte([]byte("\"\\\b\f\n\r\t"), c); k >= 0 {
			out = append(out, '\\', `"\bfnrt`[k])
		} else {
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(out, plain[start:]...)
}

// quoted makes a JSON string of plain UTF-8.
func quoted(plain []byte) []byte {
	out := make([]byte, 0, len(plain)+len(plain)/16+2)
	out = append(out, '"')
	out = appendText(out, plain)
	return append(out, '"')
}

// plain is the opposite of appendText for canonical text. A lone surrogate, which has no bytes, fails.
func plain(text []byte) ([]byte, bool) {
	if bytes.IndexByte(text, '\\') < 0 {
		return text, true
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			out = append(out, text[i])
			i++
			continue
		}
		if text[i+1] == 'u' {
			r, n := codepoint(text[i:])
			if utf16.IsSurrogate(r) {
				return nil, false
			}
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		k := bytes.IndexByte([]byte(`"\bfnrt`), text[i+1])
		out = append(out, "\"\\\b\f\n\r\t"[k])
		i += 2
	}
	return out, true
}

// appendCompact appends v without space, members in their order.
func (v *value) appendCompact(out []byte) []byte {
	switch v.kind {
	case kindString:
		return append(append(append(out, '"'), v.text...), '"')
	case kindObject, kindArray:
		out = append(out, v.kind)
		for i := range v.kids {
			if i > 0 {
				out = append(out, ',')
			}
			if v.kind == kindObject {
				out = append(append(append(out, '"'), v.kids[i].key...), '"', ':')
			}
			out = v.kids[i].appendCompact(out)
		}
		return append(out, v.kind+2) // ']' and '}' follow their openers by two
	case kindJoined:
		return append(v.appendJoined(append(out, '"')), '"')
	case kindLines, kindSplit:
		out = append(out, '[')
		out = v.appendLines(out, -1)
		return append(out, ']')
	}
	return append(out, v.text...)
}

// weight is about how many bytes v takes when written indented.
func (v *value) weight() int {
	n := len(v.key) + len(v.text) + 16
	if v.kind == kindSplit {
		n += 16 * min(bytes.Count(v.text, []byte{'\\'}), len(v.text)/16) // what stands between the lines
	}
	for i := range v.kids {
		n += v.kids[i].weight()
	}
	return n
}

// appendIndented appends v as Python's json.dumps(indent=1, sort_keys=True, ensure_ascii=False). It
// sorts v's members in place.
func (v *value) appendIndented(out []byte, depth int) []byte {
	if (v.kind == kindLines || v.kind == kindSplit) && len(v.text) > 0 {
		out = v.appendLines(append(out, '['), depth+1)
		return append(newline(out, depth), ']')
	}
	if (v.kind != kindObject && v.kind != kindArray) || len(v.kids) == 0 {
		return v.appendCompact(out)
	}
	if v.kind == kindObject {
		slices.SortFunc(v.kids, func(a, b value) int { return compareNames(a.key, b.key) })
	}
	out = append(out, v.kind)
	for i := range v.kids {
		if i > 0 {
			out = append(out, ',')
		}
		out = newline(out, depth+1)
		if v.kind == kindObject {
			out = append(append(append(out, '"'), v.kids[i].key...), '"', ':', ' ')
		}
		out = v.kids[i].appendIndented(out, depth+1)
	}
	return append(newline(out, depth), v.kind+2)
}

func newline(out []byte, depth int) []byte {
	out = append(out, '\n')
	for range depth {
		out = append(out, ' ')
	}
	return out
}

// compareNames orders canonical texts by code point, which for UTF-8 is the order of the bytes.
func compareNames(a, b []byte) int {
	if pa, ok := plain(a); ok {
		a = pa
	}
	if pb, ok := plain(b); ok {
		b = pb
	}
	return bytes.Compare(a, b)
}
