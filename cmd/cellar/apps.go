package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cellar/server"
)

const (
	appsOff  = "off"
	appsPort = "apps.port" // in the data folder: the port of --apps-listen's default
	appsKey  = "apps.key"  // in the data folder: makes the cookies of applications
)

// checkAppsURL wants scheme and host alone: paths stay as they are on the hub.
func checkAppsURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(strings.ReplaceAll(text, "{project}", "project"))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("--apps-url is a scheme and a host, as in https://apps.example.org, without a slash at its end: not %q", text)
	}
	return nil
}

// listenForApps takes the port that the operator names; nil if there is none.
func (c *serveCmd) listenForApps() (net.Listener, error) {
	switch c.AppsListen {
	case "":
		return nil, nil
	case appsOff:
		if c.AppsURL != "" {
			return nil, errors.New("--apps-url has no use with --apps-listen off")
		}
		return nil, nil
	}
	return net.Listen("tcp", c.AppsListen)
}

// listenBeside takes a port of the hub's host for applications: the one of the
// last start, for the sake of bookmarks and tunnels, else the next one, else any.
func listenBeside(hub net.Listener, asked, data string, log *slog.Logger) (net.Listener, error) {
	host, _, err := net.SplitHostPort(asked)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(data, appsPort)
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	last, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 16)
	if err != nil {
		last = 0
	}
	var ports []int
	if last != 0 {
		ports = append(ports, int(last))
	}
	if next := portOf(hub) + 1; next <= 65535 {
		ports = append(ports, next)
	}
	for _, port := range append(ports, 0) {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			log.Warn("port for applications is taken, looking for another", "port", port, "error", err)
			continue
		}
		if err := os.WriteFile(file, fmt.Appendln(nil, portOf(ln)), 0o600); err != nil {
			ln.Close()
			return nil, err
		}
		return ln, nil
	}
	return nil, errors.New("there is no free port for applications; name one with --apps-listen, or --apps-listen off")
}

func portOf(ln net.Listener) int {
	if a, ok := ln.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// apps is what the server has to know of the second listener; nil without one.
func (c *serveCmd) apps(data string, hub, apps net.Listener) (*server.Apps, error) {
	if apps == nil {
		return nil, nil
	}
	key, err := keyIn(filepath.Join(data, appsKey))
	if err != nil {
		return nil, err
	}
	return &server.Apps{Key: key, URL: c.AppsURL, Port: portOf(apps), HubPort: portOf(hub), Loopback: isLoopback(hub) && isLoopback(apps)}, nil
}

// isLoopback reports whether a listener answers at 127.0.0.1.
func isLoopback(ln net.Listener) bool {
	ap, err := netip.ParseAddrPort(ln.Addr().String())
	a := ap.Addr().Unmap()
	return err == nil && (a.IsUnspecified() || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// onLoopback reports whether a listener answers on this machine's loopback alone.
func onLoopback(ln net.Listener) bool {
	ap, err := netip.ParseAddrPort(ln.Addr().String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

const keySize = 32

// keyIn reads the key in a file, which it makes.
func keyIn(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) == keySize {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, keySize) // a file cut short too: browsers have to go through the hub once more
	rand.Read(key)
	return key, os.WriteFile(file, key, 0o600)
}
