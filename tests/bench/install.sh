#!/bin/sh
# Installs what the bench lacks: compilers, a tracer, and the rivals that Debian
# packages. Elsewhere, or without root, it names the packages instead. The bench
# runs all the same and says which rivals are missing.
set -u

root=$(cd "$(dirname "$0")/../.." && pwd)
unpacked=$root/target/bench/rivals/unpacked

# command:package
wanted="gcc:gcc musl-gcc:musl-tools strace:strace tcpserver:ucspi-tcp tcpsvd:ipsvd socat:socat ncat:ncat"

# Super-servers are only unpacked: installed, they would start a daemon, and each
# would remove the other.
# program:package:libraries
super_servers="xinetd:xinetd:libwrap0,libtirpc3,libselinux1 inetd:openbsd-inetd:libwrap0,libbsd0,libevent-2.1-7,libsystemd0,libtirpc3"

packages=
for pair in $wanted; do
	command -v "${pair%%:*}" >/dev/null || packages="$packages ${pair#*:}"
done
to_unpack=
for triple in $super_servers; do
	program=${triple%%:*}
	rest=${triple#*:}
	command -v "$program" >/dev/null && continue
	[ -x "$unpacked/usr/sbin/$program" ] && continue
	to_unpack="$to_unpack ${rest%%:*}"
	packages="$packages $(echo "${rest#*:}" | tr , ' ')"
done

[ -z "$packages$to_unpack" ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "bench: for all rivals install these (names of Debian's packages):$packages$to_unpack" >&2
	exit 0
fi

export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $packages >/dev/null ||
	echo "bench: not all of these could be installed:$packages" >&2

mkdir -p "$unpacked"
for package in $to_unpack; do
	scratch=$(mktemp -d)
	chmod 755 "$scratch"
	if (cd "$scratch" && apt-get -qq download "$package" >/dev/null 2>&1) && dpkg -x "$scratch"/*.deb "$unpacked"; then
		echo "bench: unpacked $package"
	else
		echo "bench: could not unpack $package" >&2
	fi
	rm -r "$scratch"
done
