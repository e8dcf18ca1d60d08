package app

import (
	"net/url"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// Address is what a path below a project says: which port is meant, and what
// the application is asked for.
type Address struct {
	Port     int
	Absolute bool   // the application knows where it is: its path is not cut
	Mount    string // "/proxy/8000" or "/proxy/absolute/8000", below the project
	Rest     string // what follows the mount, escaped as it came; "" or beginning with a slash
}

var (
	errNoAddress = fault.New(fault.NotFound, "not_found", "There is nothing at this address. Applications are at proxy/PORT/ and proxy/absolute/PORT/.")
	errPort      = fault.New(fault.Invalid, "port_invalid", "A port is a number from 1 to 65535.")
)

// Parse reads a path below a project, escaped as it came: file names of an
// application may hold any character, and %2F is not a slash to it.
func Parse(path string) (Address, error) {
	a := Address{Mount: "/proxy/"}
	rest, ok := strings.CutPrefix(path, a.Mount)
	if !ok {
		return a, errNoAddress
	}
	if after, ok := strings.CutPrefix(rest, "absolute/"); ok {
		a.Absolute, rest, a.Mount = true, after, a.Mount+"absolute/"
	}
	digits := rest
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		digits, a.Rest = rest[:i], rest[i:]
	}
	if digits == "" {
		return a, errNoAddress
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 || digits[0] == '0' {
		return a, errPort
	}
	a.Port = int(port)
	a.Mount += digits
	return a, nil
}

// target is the path that the application is asked for; prefix is the public
// path of the mount.
func (a Address) target(prefix string) *url.URL {
	raw := a.Rest
	if a.Absolute {
		raw = prefix + a.Rest
	}
	if raw == "" {
		raw = "/"
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		path = raw // sent as it came, escaped once more
		raw = ""
	}
	return &url.URL{Path: path, RawPath: raw}
}
