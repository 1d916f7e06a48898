#!/bin/sh
# Runs the suite. Most of it needs no privilege; some of it wants networks, mounts
# and process tables of its own, or to be several users. An ordinary user has that
# in a user namespace, where the kernel lets him make one. What cannot be run all
# the same is named with the reason, and counted; for root nothing is left out.
#
# usage: suite.sh [ARGUMENT...]      arguments of the test program
set -eu

cargo=${CARGO:-cargo}
list=target/suite.list

# Tests, by the beginnings of their names, that root in a namespace cannot run.
only_root() {
    cat <<END
calls::client_that_ends_frees has strace under a limit that does not count root's processes
deploy::container makes an image
deploy::supervisors::openrc starts more than a namespace lets it
deploy::supervisors::runit starts more than a namespace lets it
deploy::supervisors::s6 starts more than a namespace lets it
deploy::supervisors::sysvinit starts more than a namespace lets it
deploy::systemd makes control groups
limits::process_limit_of_a_container makes a control group
memory:: makes control groups
start::tiny_limits has a limit that does not count root's processes
stderr::kernel_log makes a device
token::cage_is_that reads a filter out of the kernel
token::filter_does reads a filter out of the kernel
users::largest_numbers is a user whom no namespace has
users::server_and_children is a user whom no namespace has
END
}

# Those that it cannot run either where it is the only user there.
several_users() {
    cat <<END
deploy::haproxy is several users
deploy::super_servers is several users
deploy::supervisors::busybox is several users
drain::grace_ends_while is several users
drain::second_signal_while is several users
drain::signal_while is several users
gone::client_that_waits is several users
limits::client_is_late is several users
limits::client_that_gives_up is several users
limits::late_client is several users
limits::source_is_not_locked is several users
recurring::shortage is several users
stderr:: is several users
users:: is several users
waiting:: is several users
END
}

# Those that cannot be run without a namespace.
namespace() {
    cat <<END
cli::default_is_every has a network of its own
cli::low_port has a network of its own
deploy:: has a root file system of its own
entry::inetd has a process table of its own
entry::nothing_but_echo_reaches_a_client_that_is_stderr plays another kernel to the server
entry::socat has a process table of its own
entry::systemd has a process table of its own
entry::tcpserver has a process table of its own
gone::listener_that_is_destroyed has a network of its own
limits::sources_of_ipv6 has a network of its own
manual::defaults has a network of its own
orphans:: has a network of its own
pid1:: has a process table of its own
sockets:: has a network of its own
start::environment_is has a network of its own
start::limits_on_time plays another kernel to the server
start::second_signal_needs plays another kernel to the server
start::timers_that plays another kernel to the server
stdio::closed_descriptors has a network of its own
timeouts::client_that_vanished has a network of its own
token::kernel_that plays another kernel to the server
END
}

# What may not be run here, and how the rest is run.
skipped() {
    case $1 in
    several) only_root ;;
    one) only_root && several_users ;;
    none) only_root && several_users && namespace ;;
    esac
}
if [ "$(id -u)" = 0 ]; then
    way=root enter="" who=""
elif unshare --user --map-root-user --map-auto true 2>/dev/null; then
    way=several enter="unshare --user --map-root-user --map-auto"
    who="as root of a user namespace"
elif unshare --user --map-root-user true 2>/dev/null; then
    way=one enter="unshare --user --map-root-user"
    who="as root of a user namespace, alone in it (Debian's package uidmap gives it others)"
else
    way=none enter=""
    who="as an ordinary user: this kernel lets him make no user namespace"
fi
[ -z "$who" ] || echo "The tests are run $who."

"$cargo" test --release --quiet --test suite -- --list >"$list"
skipped none | while read -r test _; do
    grep -q "^$test" "$list" || { echo "suite.sh: there is no test $test" >&2; exit 1; }
done
for test in $(skipped "$way" | cut -d ' ' -f 1); do
    set -- "$@" --skip "$test"
done
code=0
$enter "$cargo" test --release --quiet --test suite -- "$@" || code=$?

if [ -n "$(skipped "$way")" ]; then
    count=$(skipped "$way" | sed 's/^\([^ ]*\).*/^\1/' | grep -c -f - "$list")
    skipped "$way" | sed 's/^\([^ ]*\)/not run: \1, which/'
    echo "$count tests were not run; root runs them all."
    [ "${CI-}" != true ] || code=1
fi
exit $code
