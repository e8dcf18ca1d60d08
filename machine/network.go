// Package machine is a machine that runs kernels: its network for them, its
// views of /proc, and what it can and cannot do.
package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is the kernels' way out: a bridge with isolated ports, masquerading,
// and a wall in front of this machine's own ports.
type Network struct {
	Name   string  // of the bridge and of the nftables table
	Prefix [2]byte // a /16
}

// rules: what is forwarded from the bridge may go anywhere but to other kernels
// (isolated ports see to that) and comes back masqueraded; nothing that a kernel
// opens reaches a port of this machine, whichever address it uses.
const rules = `
table inet %[1]s
delete table inet %[1]s
table inet %[1]s {
	chain input {
		type filter hook input priority filter - 5; policy accept;
		iifname "%[1]s" ct state established,related accept
		iifname "%[1]s" drop
	}
	chain forward {
		type filter hook forward priority filter - 5; policy accept;
		iifname "%[1]s" oifname "%[1]s" drop
		iifname "%[1]s" ip daddr 169.254.0.0/16 drop
		iifname "%[1]s" accept
		oifname "%[1]s" ct state established,related accept
		oifname "%[1]s" drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr %[2]s oifname != "%[1]s" masquerade
	}
}
`

func (n Network) cidr() string { return fmt.Sprintf("%d.%d.0.0/16", n.Prefix[0], n.Prefix[1]) }

// Up makes the network, or leaves it as it is.
func (n Network) Up(ctx context.Context) error {
	if err := n.bridge(); err != nil {
		return fmt.Errorf("bridge %s: %w", n.Name, err)
	}
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(rules, n.Name, n.cidr()))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nftables: %w: %s", err, firstLine(out))
	}
	return forwarding()
}

func (n Network) bridge() error {
	if _, err := netlink.LinkByName(n.Name); err == nil {
		return nil
	}
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: n.Name, MTU: wayOutMTU()}}
	if err := netlink.LinkAdd(br); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := QuietLink(br); err != nil {
		return err
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(n.Prefix[0], n.Prefix[1], 0, 1), Mask: net.CIDRMask(16, 32)}}
	if err := netlink.AddrAdd(br, addr); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return netlink.LinkSetUp(br)
}

// QuietLink keeps IPv6 addresses off a link of this machine; call it before the
// link goes up. The kernels'
// network has none of it; but Linux gives each link that goes up an address of
// its own, and a Chromium on this machine closes every connection it has when an
// address comes or goes (ERR_NETWORK_CHANGED): each kernel that starts or sleeps
// would break what the page is loading.
func QuietLink(link netlink.Link) error {
	err := netlink.LinkSetIP6AddrGenMode(link, addressesNone)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) { // no IPv6 here at all
		return nil
	}
	return err
}

const addressesNone = 1 // IN6_ADDR_GEN_MODE_NONE, linux/if_link.h

// wayOutMTU is the smallest of the default routes': what leaves must fit.
func wayOutMTU() int {
	mtu := 1500
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return mtu
	}
	for _, r := range routes {
		if r.Dst == nil || r.Dst.IP.IsUnspecified() {
			if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil && l.Attrs().MTU > 0 {
				mtu = min(mtu, l.Attrs().MTU)
			}
		}
	}
	return mtu
}

const forwardFile = "/proc/sys/net/ipv4/ip_forward"

func forwarding() error {
	b, err := os.ReadFile(forwardFile)
	if err != nil || strings.TrimSpace(string(b)) == "1" {
		return err
	}
	if err := os.WriteFile(forwardFile, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("this machine does not allow forwarding: %w", err)
	}
	return nil
}

// Down removes the network.
func (n Network) Down(ctx context.Context) error {
	exec.CommandContext(ctx, "nft", "delete", "table", "inet", n.Name).Run() // it may not be there
	if l, err := netlink.LinkByName(n.Name); err == nil {
		return netlink.LinkDel(l)
	}
	return nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
