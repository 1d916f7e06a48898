#!/bin/sh
# Installs what the tests call, as root on Debian; elsewhere, or without root,
# names what is missing and fails.
#
# usage: tools.sh TOOL...
#
# A TOOL is one of
#     COMMAND:PACKAGE           a Debian package
#     COMMAND:PACKAGE:unpacked  one that would start a daemon or remove another
#                               package: its dependencies are installed, itself
#                               is only unpacked, into target/tools
#     CRATE@VERSION             a program that cargo builds, into target/tools
set -eu

tools=$PWD/target/tools
PATH=$PATH:$tools/bin:$tools/usr/sbin:$tools/sbin:/usr/sbin:/sbin
packages='' unpacked='' crates=''
for tool; do
    command=${tool%%[:@]*} rest=${tool#*[:@]}
    command -v "$command" >/dev/null && continue
    case $tool in
    *:unpacked) unpacked="$unpacked ${rest%:unpacked}" ;;
    *:*) packages="$packages $rest" ;;
    *) crates="$crates $tool" ;;
    esac
done

if [ -n "$packages$unpacked" ]; then
    # shellcheck disable=SC2086 # a list of words, each once
    missing=$(printf '%s\n' $packages $unpacked | awk '!seen[$0]++ { printf " %s", $0 }')
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "missing, please install (names of Debian's packages):$missing" >&2
        exit 1
    fi
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # shellcheck disable=SC2086 # a list of words
    [ -z "$packages" ] || apt-get -qq install -y --no-install-recommends $packages >/dev/null
fi

for package in $unpacked; do
    scratch=$(mktemp -d)
    (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download "$package")
    needed=$(dpkg-deb -f "$scratch"/*.deb Depends)
    apt-get -qq satisfy -y --no-install-recommends "$needed" >/dev/null
    mkdir -p "$tools"
    dpkg-deb -x "$scratch"/*.deb "$tools"
    rm -r "$scratch"
done

# Not optimised: that would take longer than it saves. And not here, so that they
# are not built with the server's own flags.
for crate in $crates; do
    echo "building: $crate"
    (cd / && cargo install --quiet --debug --locked --root "$tools" --target-dir "$tools/build" "$crate") || {
        echo "$crate, which makes the packages, could not be built" >&2
        exit 1
    }
    rm -rf "$tools/build"
done
