#!/bin/sh
# Installs what the tests call, as root on Debian; elsewhere, or without root,
# names the packages that are missing and fails.
#
# usage: tools.sh COMMAND:PACKAGE...
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing, please install (names of Debian's packages):$missing" >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $missing >/dev/null
