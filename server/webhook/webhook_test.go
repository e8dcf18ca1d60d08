package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cellar/internal/fault"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestOnlyTheInternetIsReached(t *testing.T) {
	s := New(nil)
	for _, a := range []string{
		"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1", "192.0.2.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:0:1::1", "2001:db8::1",
	} {
		if s.allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is reached", a)
		}
	}
	for _, a := range []string{"1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"} {
		if !s.allowed(netip.MustParseAddr(a)) {
			t.Errorf("%s is not reached", a)
		}
	}
	some := New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")})
	for a, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "::1": true, "127.0.0.1": false, "192.168.0.1": false, "1.1.1.1": true} {
		if got := some.allowed(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s with an allowance: %v", a, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	s := New(nil)
	for address, want := range map[string]error{
		"https://example.com/hook?key=1": nil, "http://example.com:8080": nil, "https://1.1.1.1/x": nil,
		"": fault.Invalid, "example.com": fault.Invalid, "ftp://example.com": fault.Invalid, "https://": fault.Invalid, "https:///x": fault.Invalid, "https:example.com": fault.Invalid,
		"file:///etc/passwd": fault.Invalid, "https://user:secret@example.com": fault.Invalid, "https://example.com/#x": fault.Invalid, "https://exa mple.com": fault.Invalid,
		"https://example.com/\nx": fault.Invalid, "https://example.com/" + strings.Repeat("x", maxURL): fault.Invalid,
		"http://127.0.0.1/": fault.Denied, "http://[::1]:80/": fault.Denied, "http://169.254.169.254/latest": fault.Denied, "http://[fe80::1%25eth0]/": fault.Denied,
	} {
		if err := s.Check(address); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", address, err, want)
		}
	}
}

// What counts is the address that is dialled: these names and spellings stand
// for the machine itself, and pass the first look.
func TestTheDialledAddressIsLookedAt(t *testing.T) {
	asked := false
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	s := New(nil)
	for _, host := range []string{"localhost", "127.1", "2130706433", "0x7f000001", "0"} {
		address := "http://" + net.JoinHostPort(host, port) + "/"
		if err := s.Check(address); err != nil {
			t.Errorf("%s is refused unseen: %v", host, err)
		}
		if status, err := s.Post(t.Context(), address, nil, nil); err == nil || status != 0 {
			t.Errorf("%s: %d %v", host, status, err)
		}
	}
	if status, err := s.Post(t.Context(), "http://localhost:"+port, nil, nil); !errors.Is(err, fault.Denied) {
		t.Errorf("localhost: %d %v", status, err)
	}
	if asked {
		t.Error("the server was reached")
	}
}

func TestPost(t *testing.T) {
	var got *http.Request
	var body []byte
	next := "/answer"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		http.Redirect(w, r, next, http.StatusTemporaryRedirect)
	}))
	defer srv.Close()
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	status, err := New(loopback).Post(t.Context(), srv.URL+"/hook?key=1", map[string]string{"webhook-id": "7"}, []byte(`{"a":1}`))
	if err != nil || status != http.StatusTemporaryRedirect {
		t.Fatalf("%d %v: a redirect is an answer, not an address", status, err)
	}
	if got.Method != "POST" || got.URL.String() != "/hook?key=1" || got.Header.Get("webhook-id") != "7" || string(body) != `{"a":1}` {
		t.Errorf("%s %s %v %s", got.Method, got.URL, got.Header, body)
	}
}

// Errors say why, and never where.
func TestErrorsNameNoAddress(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	tlsSrv := httptest.NewTLSServer(http.NotFoundHandler())
	defer tlsSrv.Close()
	tlsSrv.Config.ErrorLog = nil
	for address, want := range map[string]string{
		"http://" + silent.Addr().String() + "/secretpath": "It took too long.",
		"http://" + gone.Addr().String() + "/secretpath":   "Nothing answers",
		tlsSrv.URL + "/secretpath":                         "certificate",
		"http://name.invalid/secretpath":                   "not known",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		status, err := New(loopback).Post(ctx, address, nil, nil)
		cancel()
		if status != 0 || !errors.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "secretpath") {
			t.Errorf("%s: %d %v", address, status, err)
		}
		if !strings.Contains(address, "name.invalid") && !strings.Contains(fault.Sentence(err), want) { // a machine without a resolver may take its time
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
}
