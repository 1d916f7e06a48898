#!/bin/sh
# Boots Debian's kernel for a foreign architecture under qemu with nothing in
# it but busybox, the server, and `init`, which tests it, as a child and as
# PID 1. Guards contract sections 5 (PID 1, orphans, drain), 6 and 7 on a real
# kernel of that architecture; qemu-user has neither seccomp nor a PID 1.
#
# usage: run.sh aarch64|riscv64 NAME=SERVER...
# One NAME is the machine's, as uname(1) has it: that server will be PID 1, too.
set -eu

here=$(dirname "$0")
cache=${BOOT_CACHE:-$here/../../target/boot}
deadline=120
# shellcheck source=fetch.sh
. "$here/fetch.sh"

machine=$1
shift
case $machine in
aarch64)
    debian=arm64 suites="" kernel=linux-image-cloud-arm64
    emulator=qemu-system-arm processor=cortex-a57 console=ttyAMA0
    ;;
riscv64)
    # Not in Debian 12. forky only if apt refuses the lists of trixie.
    debian=riscv64 suites="trixie forky" kernel=linux-image-riscv64
    emulator=qemu-system-misc processor=rv64 console=ttyS0
    ;;
*)
    echo "$0: don't know how to boot $machine" >&2
    exit 2
    ;;
esac

for tool in apt-get:apt dpkg:dpkg cpio:cpio; do
    command -v "${tool%:*}" >/dev/null || {
        echo "$0: ${tool%:*} is missing (Debian package ${tool#*:})" >&2
        exit 1
    }
done

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
fetch "$cache/$machine" "$debian" "$suites" "$kernel" busybox-static
qemu=qemu-system-$machine
if ! command -v "$qemu" >/dev/null; then
    fetch_program "$cache/$emulator" "$emulator"
    libraries=$(find "$cache/$emulator" -name '*-linux-gnu' -type d | paste -sd :)
    qemu="env LD_LIBRARY_PATH=$libraries $cache/$emulator/usr/bin/$qemu -L $cache/$emulator/usr/share/qemu"
fi

# The initramfs: its device nodes come from the kernel, so no root is needed.
root=$cache/$machine-root
rm -rf "$root"
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/tmp"
cp "$(find "$cache/$machine" -path '*bin/busybox')" "$root/bin/"
cp "$here/init" "$root/init"
for server; do
    mkdir -p "$root/servers/${server%%=*}"
    cp "${server#*=}" "$root/servers/${server%%=*}/rot13d"
done
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$root.cpio.gz"

log=$cache/$machine.console
code=0
# shellcheck disable=SC2086 # a command with its arguments
timeout "$deadline" $qemu -M virt -cpu "$processor" -m 512 -nographic -no-reboot -nodefaults \
    -serial stdio -monitor none -kernel "$(find "$cache/$machine" -name 'vmlinu[xz]*')" -initrd "$root.cpio.gz" \
    -append "console=$console panic=-1 quiet rdinit=/init" </dev/null >"$log.raw" 2>&1 || code=$?
tr -d '\r' <"$log.raw" >"$log"

# Everything was checked, nothing failed, and only then PID 1 exited, with 0.
passed=$(grep -c '^ok ' "$log" || :)
verdict=$(grep -o -E '^not ok|^end of .* checks|Attempted to kill init! exitcode=.*' "$log" | cut -d ' ' -f 1-5 || :)
if [ "$verdict" = "end of $passed checks
Attempted to kill init! exitcode=0x00000000" ]; then
    grep '^ok ' "$log"
    echo "ok $machine as PID 1: exit 0 when the last client has left"
else
    cat "$log"
    echo "not ok $machine: the boot test failed (qemu's exit code: $code; 124: no end within $deadline s)"
    exit 1
fi
