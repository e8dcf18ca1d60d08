#!/bin/sh
# probe.sh: run once at boot inside the virtual machine: looks at Cellar, tells the second serial line, ends the machine.
phase=$(sed -n 's/.*cellar\.phase=\([a-z]*\).*/\1/p' /proc/cmdline)
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 -echo -onlcr 2>/dev/null
echo "probe: Debian $(cat /etc/debian_version), Linux $(uname -r), $(cut -d. -f1 /proc/uptime) s after its start, phase $phase"
CELLAR_PHASE=$phase timeout 1200 /usr/local/lib/cellar/probe -test.timeout 20m || {
	echo "probe: it failed; the hub's log ends:"
	journalctl -u cellar -o cat -n 40 --no-pager
	grep -E 'level=(warning|error)' /var/lib/cellar/containerd/containerd.log | tail -n 10
	dmesg | tail -n 10
	phase=failed
}
[ "$phase" != before ] || { echo "probe: cut the power"; sleep 60; }
echo "probe: end"
sync
poweroff -f
