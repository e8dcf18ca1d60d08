package lab

import "bytes"

// withoutComments makes JSON of JSON with comments and commas too many: what a person writes into the
// settings editor. Comments become space, so that offsets in a parser's error still fit. Anything
// else that is wrong stays wrong, for the parser to say.
func withoutComments(in []byte) []byte {
	out := make([]byte, len(in))
	copy(out, in)
	comma := -1 // the last comma, while nothing but space follows it
	for i := 0; i < len(out); {
		switch c := out[i]; {
		case c == '"':
			i = afterString(out, i)
			comma = -1
		case c == '/' && i+1 < len(out) && (out[i+1] == '/' || out[i+1] == '*'):
			i = blankComment(out, i)
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
		default:
			if (c == '}' || c == ']') && comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
			if c == ',' {
				comma = i
			}
			i++
		}
	}
	return out
}

func afterString(in []byte, i int) int {
	for i++; i < len(in); i++ {
		switch in[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(in)
}

// blankComment overwrites the comment at i, but for its line ends, and answers where it ends.
func blankComment(out []byte, i int) int {
	end := len(out)
	if out[i+1] == '/' {
		if n := bytes.IndexByte(out[i:], '\n'); n >= 0 {
			end = i + n
		}
	} else if n := bytes.Index(out[i+2:], []byte("*/")); n >= 0 {
		end = i + 2 + n + 2
	}
	for k := i; k < end; k++ {
		if out[k] != '\n' {
			out[k] = ' '
		}
	}
	return end
}
