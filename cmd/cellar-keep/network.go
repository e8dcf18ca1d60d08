package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"cellar/machine"
)

// setUpNetwork is the OCI createRuntime hook. runc runs it when it creates a
// container and again when CRIU has made the namespaces of a restored one, with
// the container's state (its pid) on stdin: loopback goes up, and with --bridge
// a veth pair joins the container to the project network.
//
//	net [--bridge NAME --address CIDR --gateway IP --veth NAME]
func setUpNetwork(stdin io.Reader) error {
	fs := flag.NewFlagSet("net", flag.ContinueOnError)
	bridge := fs.String("bridge", "", "bridge to join")
	address := fs.String("address", "", "address of the container, with prefix length")
	gateway := fs.String("gateway", "", "default route")
	veth := fs.String("veth", "", "name of the host's end")
	if err := fs.Parse(os.Args[2:]); err != nil {
		return err
	}
	var state struct {
		Pid int `json:"pid"`
	}
	if err := json.NewDecoder(io.LimitReader(stdin, 1<<20)).Decode(&state); err != nil {
		return fmt.Errorf("container state: %w", err)
	}
	ns, err := netns.GetFromPid(state.Pid)
	if err != nil {
		return fmt.Errorf("network namespace of %d: %w", state.Pid, err)
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	lo, err := inside.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := inside.LinkSetUp(lo); err != nil {
		return err
	}
	if *bridge == "" {
		return nil
	}
	return join(inside, ns, *bridge, *veth, *address, *gateway)
}

func join(inside *netlink.Handle, ns netns.NsHandle, bridge, veth, address, gateway string) error {
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", bridge, err)
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if old, err := netlink.LinkByName(veth); err == nil { // of a life that ended without tidying up
		netlink.LinkDel(old)
	}
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: veth, MasterIndex: br.Attrs().Index, MTU: br.Attrs().MTU},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(ns),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("veth %s: %w", veth, err)
	}
	// Isolated ports of one bridge do not reach each other: kernels see the way
	// out and nothing beside it.
	if err := netlink.LinkSetIsolated(pair, true); err != nil {
		return fmt.Errorf("isolating %s: %w", veth, err)
	}
	if err := machine.QuietLink(pair); err != nil {
		return fmt.Errorf("IPv6 of %s: %w", veth, err)
	}
	if err := netlink.LinkSetUp(pair); err != nil {
		return err
	}
	eth, err := inside.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := errors.Join(inside.AddrAdd(eth, addr), inside.LinkSetUp(eth)); err != nil {
		return err
	}
	return inside.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: net.ParseIP(gateway)})
}
