# Sourced by the scripts: the Debian this machine is, and where it gets its packages.
# Mirror addresses are read from the machine's own apt, never written here.

codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_uris: "URI SUITE" of everything the machine's apt would fetch. Works before the first apt-get update,
# which apt-get indextargets does not.
apt_uris() {
	apt-get --print-uris update 2>/dev/null | sed -n "s,^'\(.*\)/dists/\(.*\)/InRelease'.*,\1 \2,p"
}

# mirror: the address of the machine's Debian archive.
mirror() {
	local uri
	uri=$(apt_uris | awk -v c="$codename" '$2 == c || $2 == "stable" { print $1 }' | head -n 1)
	[ -n "$uri" ] || fail "apt has no source for Debian $codename: nowhere to get packages from"
	printf '%s\n' "$uri"
}

# security_mirror: the address of its security updates; nothing where the machine has none.
security_mirror() {
	apt_uris | awk '$2 ~ /-security$/ { print $1 }' | head -n 1
}

# sources SUITE [security]: a sources.list for another Debian suite from the same mirrors.
sources() {
	local main security
	main=$(mirror)
	echo "deb [signed-by=$keyring] $main $1 main"
	[ "${2:-}" = security ] || return 0
	security=$(security_mirror)
	[ -z "$security" ] || echo "deb [signed-by=$keyring] $security $1-security main"
}

# apt_options FILE: apt settings for work on another suite. A mirror may be a frozen one whose Release
# files have expired, and the machine may reach it through a proxy: both are the machine's to say.
apt_options() {
	{
		echo 'Acquire::Check-Valid-Until "false";'
		echo 'Acquire::Languages "none";'
		apt-config dump | grep -iE '^Acquire::[a-z:]*Proxy|^Acquire::Check-Date' || true
	} >"$1"
}

# installed PACKAGE...: all of them are.
installed() {
	local states
	states=$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null) || return 1
	! grep -qvx installed <<<"$states"
}
