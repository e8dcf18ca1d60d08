package wire

import (
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Two kinds of JSON come with every line that a kernel prints: headers, and the
// content of a stream message. Both are nearly always objects of plain strings,
// and are read here without reflection. Whatever is otherwise is encoding/json's,
// which these functions agree with (see FuzzFlat).

// flat walks an object: it calls fn with each key and with the bytes of its
// string between the quotes, nil for null. It reports false when part is anything
// but an object of strings and nulls, with keys without escapes.
func flat(part string, fn func(key, value string, null bool)) bool {
	i := space(part, 0)
	if i == len(part) || part[i] != '{' {
		return false
	}
	if i = space(part, i+1); i < len(part) && part[i] == '}' {
		return space(part, i+1) == len(part)
	}
	for {
		key, next, ok := quoted(part, i)
		if !ok || strings.IndexByte(key, '\\') >= 0 {
			return false
		}
		if i = space(part, next); i == len(part) || part[i] != ':' {
			return false
		}
		i = space(part, i+1)
		if strings.HasPrefix(part[i:], "null") {
			fn(key, "", true)
			i += 4
		} else {
			value, next, ok := quoted(part, i)
			if !ok {
				return false
			}
			fn(key, value, false)
			i = next
		}
		if i = space(part, i); i == len(part) {
			return false
		}
		switch part[i] {
		case ',':
			i = space(part, i+1)
		case '}':
			return space(part, i+1) == len(part)
		default:
			return false
		}
	}
}

func space(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// quoted gives the bytes of the string that begins at i, and where it ends.
// Control characters in it are not JSON.
func quoted(s string, i int) (value string, next int, ok bool) {
	if i >= len(s) || s[i] != '"' {
		return "", 0, false
	}
	for j := i + 1; j < len(s); j++ {
		switch c := s[j]; {
		case c == '"':
			return s[i+1 : j], j + 1, true
		case c == '\\':
			j++ // whatever it is, it does not end the string
		case c < ' ':
			return "", 0, false
		}
	}
	return "", 0, false
}

// appendUnquoted appends what the bytes between two quotes mean; false: they are
// not JSON, or not UTF-8.
func appendUnquoted(dst []byte, s string) ([]byte, bool) {
	if !utf8.ValidString(s) {
		return dst, false
	}
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...), true
		}
		dst = append(dst, s[:i]...)
		if s = s[i+1:]; s == "" {
			return dst, false
		}
		c := s[0]
		s = s[1:]
		switch c {
		case '"', '\\', '/':
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r, ok := hex4(s)
			if !ok {
				return dst, false
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				pair := rune(utf8.RuneError)
				if strings.HasPrefix(s, `\u`) {
					if low, ok := hex4(s[2:]); ok {
						pair = utf16.DecodeRune(r, low)
					}
				}
				if r = pair; r != utf8.RuneError {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		default:
			return dst, false
		}
		dst = append(dst, c)
	}
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[:4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// simple reports that bytes between quotes mean themselves.
func simple(s string) bool {
	for i := range len(s) {
		if s[i] == '\\' || s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// fastHeader reads a header whose strings mean themselves. The fields share one
// copy of the part.
func fastHeader(part []byte) (h Header, ok bool) {
	plain := true
	ok = flat(string(part), func(key, value string, null bool) {
		plain = plain && simple(value) && (!null || key == "date") // null leaves what an earlier one said
		switch key {
		case "msg_id":
			h.MsgID = value
		case "msg_type":
			h.MsgType = value
		case "session":
			h.Session = value
		case "username":
			h.Username = value
		case "date":
			h.Date = Date(value)
		case "version":
			h.Version = value
		default:
			plain = plain && !headerKey(key) // encoding/json takes a key in any case
		}
	})
	return h, ok && plain
}

func headerKey(key string) bool {
	for _, k := range [...]string{"msg_id", "msg_type", "session", "username", "date", "version"} {
		if strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// Date is a header's date: a string, but some clients send a number.
type Date string

// UnmarshalJSON implements json.Unmarshaler.
func (d *Date) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*d = ""
	if s, ok := v.(string); ok {
		*d = Date(s)
	}
	return nil
}

// AppendStream appends the text of a stream message's content to dst and gives
// the stream's name; ok is false when it is no such content.
func AppendStream(dst, content []byte) (name string, text []byte, ok bool) {
	var raw string // of content, as name is: neither outlives this call
	plain := true
	ok = flat(unsafe.String(unsafe.SliceData(content), len(content)), func(key, value string, null bool) {
		switch {
		case key == "name" && !null:
			name, plain = value, plain && simple(value)
		case key == "text" && !null:
			raw = value
		case key != "name" && key != "text":
			plain = plain && !strings.EqualFold(key, "name") && !strings.EqualFold(key, "text") && simple(value)
		}
	})
	if ok && plain {
		if text, ok = appendUnquoted(dst, raw); ok {
			return intern(name), text, true
		}
	}
	var c struct{ Name, Text string }
	if json.Unmarshal(content, &c) != nil {
		return "", dst, false
	}
	return c.Name, append(dst, c.Text...), true
}

// intern spares a copy of what is nearly always one of two.
func intern(name string) string {
	switch name {
	case "stdout":
		return "stdout"
	case "stderr":
		return "stderr"
	}
	return strings.Clone(name)
}
