package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckAppsURL(t *testing.T) {
	for _, good := range []string{"", "https://apps.example.org", "http://localhost:9000", "https://{project}.apps.example.org:8443"} {
		if err := checkAppsURL(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"apps.example.org", "https://", "https://apps.example.org/", "https://apps.example.org/x", "ftp://x", "https://a@x", "https://x?q", "https://x#f", "https://{user}.x"} {
		if err := checkAppsURL(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestThePortOfApplicationsLasts(t *testing.T) {
	dir := t.TempDir()
	hub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	log := slog.New(slog.DiscardHandler)
	open := func() net.Listener {
		t.Helper()
		ln, err := listenBeside(hub, "127.0.0.1:0", dir, log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	first := open()
	second := open() // the first is taken: any other, which is kept from now on
	if portOf(first) == portOf(second) || portOf(second) == portOf(hub) {
		t.Fatalf("%v %v", first.Addr(), second.Addr())
	}
	second.Close()
	third := open()
	if portOf(third) != portOf(second) {
		t.Errorf("port %d was kept, not %d", portOf(third), portOf(second))
	}
	third.Close()
	for _, text := range []string{"", "nonsense", "70000", "0"} {
		if err := os.WriteFile(filepath.Join(dir, appsPort), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		open().Close()
	}
	if _, err := (&serveCmd{AppsListen: appsOff, AppsURL: "https://x"}).listenForApps(); err == nil {
		t.Error("an address of what is turned off")
	}
	if ln, err := (&serveCmd{AppsListen: appsOff}).listenForApps(); ln != nil || err != nil {
		t.Errorf("off: %v %v", ln, err)
	}
	if _, err := (&serveCmd{AppsListen: first.Addr().String()}).listenForApps(); err == nil {
		t.Error("a port that the operator named and that is taken is no error")
	}
}

func TestKeyIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), appsKey)
	first, err := keyIn(file)
	if err != nil || len(first) != keySize {
		t.Fatal(first, err)
	}
	if again, err := keyIn(file); err != nil || !bytes.Equal(first, again) {
		t.Errorf("not the same: %v", err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	os.Truncate(file, 3)
	if made, err := keyIn(file); err != nil || len(made) != keySize {
		t.Errorf("a file cut short: %d bytes, %v", len(made), err)
	}
	if _, err := keyIn(t.TempDir()); err == nil {
		t.Error("a folder is a key")
	}
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": true, ":0": true, "127.0.0.2:0": false} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := isLoopback(ln); got != want {
			t.Errorf("%s: %v", address, got)
		}
		ln.Close()
	}
}
