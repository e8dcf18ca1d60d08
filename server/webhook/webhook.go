// Package webhook posts messages to addresses that people name, and only to
// those outside the operator's network: whoever may set an address must not be
// able to make the hub talk to its neighbours. It knows no projects and no runs.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"cellar/internal/fault"
)

const (
	maxURL    = 2048
	maxAnswer = 64 << 10 // bytes of an answer's head; of its body as much is read and thrown away
)

// Sender posts. Redirects are not followed, proxies of the environment are not
// used, and connections are not kept.
type Sender struct {
	allow  []netip.Prefix
	client *http.Client
}

// New returns a Sender that reaches the networks in allow too, whatever they are.
func New(allow []netip.Prefix) *Sender {
	s := &Sender{allow: allow}
	dialer := &net.Dialer{Timeout: 5 * time.Second, ControlContext: s.control}
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
			MaxResponseHeaderBytes: maxAnswer, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

// errRefused does not say what the name stands for: that would tell about the
// operator's network.
var errRefused = fault.New(fault.Denied, "webhook_address", "The address lies within the server's own network or is none of the internet. The operator can allow it with --webhook-allow.")

// control looks at the address that is really dialled, after the name was looked
// up: a name may stand for another one each time it is asked for.
func (s *Sender) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !s.allowed(ap.Addr()) {
		return errRefused
	}
	return nil
}

func (s *Sender) allowed(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range s.allow {
		if p.Contains(a) {
			return true
		}
	}
	return public(a) && !own(a)
}

// own reports whether a is this machine's: from here a firewall before it counts
// for nothing.
func own(a netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, n := range list {
		if p, err := netip.ParsePrefix(n.String()); err == nil && p.Addr().Unmap() == a {
			return true
		}
	}
	return false
}

// special are networks that are not the internet, beside those that netip knows,
// and such as lead to any address of another family.
var special = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

func invalid(sentence string) error { return fault.New(fault.Invalid, "webhook_url", sentence) }

// Check refuses an address that cannot be one, and one whose host is written as
// a number that would be refused. Names are looked up when something is sent.
func (s *Sender) Check(address string) error {
	if len(address) > maxURL {
		return invalid("The address is too long: 2,048 characters at most.")
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.Opaque != "" || strings.ContainsAny(address, " \t\r\n") {
		return invalid("The address begins with https:// or http:// and a host.")
	}
	if u.User != nil || u.Fragment != "" {
		return invalid("The address has no user name, no password and no # in it.")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !s.allowed(a) {
		return errRefused
	}
	return nil
}

// Post sends body once and returns the answer's status; 0 when there was none.
func (s *Sender) Post(ctx context.Context, address string, header map[string]string, body []byte) (int, error) {
	if err := s.Check(address); err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, invalid("The address is not one that can be posted to.")
	}
	r.Header.Set("User-Agent", "Cellar")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := s.client.Do(r)
	if err != nil {
		return 0, reason(err)
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, nil
}

// reason says why nobody answered. The client's own error names the whole
// address, which may hold a secret.
func reason(err error) error {
	if errors.Is(err, errRefused) {
		return errRefused
	}
	say := func(s string) error { return fault.New(fault.Unavailable, "webhook_unreachable", s) }
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return say("It was broken off.")
	case errors.As(err, &dns):
		return say("The host's name is not known.")
	case errors.As(err, &cert):
		return say("The host's certificate is not valid for it.")
	case os.IsTimeout(err):
		return say("It took too long.")
	case errors.As(err, &op) && op.Op == "dial":
		return say("Nothing answers at that host and port.")
	}
	return say("The host's answer is not one of HTTP, or its connection ended.")
}
