#!/bin/sh
# Boots a Debian kernel under qemu with nothing in it but busybox, the server,
# and `init`, which tests it. qemu-user has neither seccomp nor a PID 1 nor the
# kernel's own loader; this has. Guards rot13d(8), CLIENTS, SIGNALS and SECURITY
# on a real kernel of each architecture.
#
# usage: run.sh test KERNEL NAME=SERVER...
#            each server as a child, then each as PID 1 in a boot of its own
#        run.sh carry KERNEL NAME=SERVER CROWD MEBIBYTES...
#            how many clients it serves at once in so much memory
#        run.sh bench KERNEL ROUNDS NAME=SERVER VISITOR LECTURE
#            what it costs against other servers: a line for each sample. VISITOR
#            is the client, LECTURE the source of the lecture's program
#        run.sh checks
#            what was checked, of all kernels that were booted
#
# KERNEL is aarch64, aarch64-16k, armv6 or riscv64. A line for each kernel and
# each server comes out; everything that was said is in target/boot/KERNEL.console.
# (VERBOSITY=loglevel=7: what the kernel has to say as well.)
set -eu

here=$(dirname "$0")
cache=${BOOT_CACHE:-$here/../../target/boot}
# Only a boot that hangs ever takes so long.
deadline=900
# shellcheck source=fetch.sh
. "$here/fetch.sh"

task=$1
if [ "$task" = checks ]; then
    cat "$cache"/*.console | awk -F ': ' '
        /^ok / && $1 !~ / carries$/ && !seen[$2]++ { names = names (names == "" ? "" : ", ") $2 }
        END { print names }' | fold -s -w 96
    exit
fi
kernel=$2
shift 2
suites="" device_tree="" parameters="" lacks=""
case $kernel in
aarch64)
    # Its second boot is without IPv6.
    debian=arm64 package=linux-image-cloud-arm64 lacks="ipv6.disable=1 lacks=IPv6"
    emulator=qemu-system-arm machine="qemu-system-aarch64 -M virt -cpu cortex-a57" console=ttyAMA0
    ;;
aarch64-16k)
    # What a Raspberry Pi 5 has as it comes: pages of 16 KiB. Not in Debian 12.
    # The emulator computes pointer signatures the slow way.
    debian=arm64 suites="trixie forky" package=linux-image-arm64-16k
    emulator=qemu-system-arm machine="qemu-system-aarch64 -M virt -cpu max,pauth=off" console=ttyAMA0
    ;;
armv6)
    # A Raspberry Pi Zero. Its power domains are not emulated.
    debian=armel package=linux-image-rpi
    emulator=qemu-system-arm machine="qemu-system-arm -M raspi0" console=ttyAMA0
    device_tree=bcm2835-rpi-zero.dtb parameters="initcall_blacklist=bcm2835_power_driver_init"
    ;;
riscv64)
    # Not in Debian 12. forky only if apt refuses the lists of trixie.
    debian=riscv64 suites="trixie forky" package=linux-image-riscv64
    emulator=qemu-system-misc machine="qemu-system-riscv64 -M virt -cpu rv64" console=ttyS0
    ;;
*)
    echo "$0: don't know how to boot $kernel" >&2
    exit 2
    ;;
esac

mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
fetch "$cache/$kernel" "$debian" "$suites" "$package" busybox-static

# program PACKAGES NAME ARGUMENT...: runs it; where this machine lacks it, out of
# packages that are fetched and not installed.
program() (
    folder=$cache/${1%% *}
    if ! command -v "$2" >/dev/null; then
        # shellcheck disable=SC2086 # a list of packages
        fetch_program "$folder" $1
        LD_LIBRARY_PATH=$(find "$folder" -name '*-linux-gnu' -type d | paste -sd :)
        export LD_LIBRARY_PATH
        PATH=$folder/usr/bin:$folder/bin:$PATH
    fi
    shift
    exec timeout --foreground "$deadline" "$@"
)

# pack SERVERS PROGRAMS LIBRARIES: the initial file system. Its device nodes come
# from the kernel, so no root is needed.
pack() {
    root=$cache/$kernel-root
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp"
    cp "$(find "$cache/$kernel" -path '*bin/busybox')" "$root/bin/"
    cp "$here/init" "$here/bench" "$root/"
    for server in $1; do
        mkdir -p "$root/servers/${server%%=*}"
        cp "${server#*=}" "$root/servers/${server%%=*}/rot13d"
    done
    for file in $2; do
        cp "$file" "$root/bin/"
    done
    [ -z "$3" ] || cp -a "$3" "$root/lib"
    initrd=$root.cpio.gz
    (cd "$root" && find . | program cpio cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$initrd"
}

# boot MEBIBYTES PARAMETERS: to the end of the kernel, which is the end of PID 1.
boot() {
    image=$(find "$cache/$kernel" -path '*boot/vmlinu[xz]*')
    # cma: nothing is kept for devices, of which there are none.
    append="console=$console panic=-1 cma=0 ${VERBOSITY-quiet} rdinit=/init $parameters $2"
    set -- "$1"
    if [ -n "$device_tree" ]; then
        # A board that always has 512 MiB: its kernel is told of less, and the
        # initial file system lies where that is there.
        append="$append mem=$1M initrd=0x1400000,$(stat -c %s "$initrd")"
        set -- -dtb "$(find "$cache/$kernel" -name "$device_tree")" \
            -device "loader,file=$initrd,addr=0x1400000,force-raw=on"
    else
        set -- -m "$1" -initrd "$initrd"
    fi
    code=0
    # Its clock counts instructions and does not wait: what the board does, does
    # not depend on what else this machine has to do.
    # shellcheck disable=SC2086 # a command with its arguments
    program "$emulator" $machine -icount shift=3,sleep=off -nographic -no-reboot -nodefaults \
        -serial stdio -monitor none -kernel "$image" "$@" -append "$append" </dev/null >"$log.raw" 2>&1 || code=$?
    tr -d '\r' <"$log.raw" >"$log"
    cat "$log" >>"$cache/$kernel.console"
}

# What every boot must have said, whatever it was for: nothing failed, and all
# was over before PID 1 exited, with 0.
verdict() {
    passed=$(grep -c '^ok ' "$log" || :)
    verdict=$(grep -o -E '^not ok|^end of .* checks|Attempted to kill init! exitcode=.*' "$log" | cut -d ' ' -f 1-5 || :)
    if [ "$verdict" != "end of $passed checks
Attempted to kill init! exitcode=0x00000000" ]; then
        cat "$log"
        echo "not ok: $kernel, $1 (qemu's exit code: $code; 124: no end within $deadline s)"
        exit 1
    fi
}

log=$cache/$kernel.log
: >"$cache/$kernel.console"
case $task in
test)
    pack "$*" "" ""
    children=$(for server; do printf '%s,' "${server%%=*}"; done) without=""
    for server; do
        first=${server%%=*}
        boot 512 "children=$children first=$first $without"
        verdict "$first as PID 1"
        echo "ok $first as PID 1: exit 0 after the last" >>"$log"
        sed -n 's/^# //p' "$log"
        grep '^ok ' "$log" | awk -F ': ' '
            { sub(/^ok /, "", $1) }
            !($1 in count) { order[++places] = $1 }
            { count[$1]++ }
            END { for (i = 1; i <= places; i++) printf "  %-20s %d checks passed\n", order[i], count[order[i]] }'
        children="" without=$lacks
    done
    ;;
carry)
    server=$1 crowd=$2
    shift 2
    pack "$server" "$crowd" ""
    boot 512 "carry=${server%%=*}"
    verdict "what a client takes"
    each=$(sed -n 's/^each //p' "$log")
    for memory; do
        boot "$memory" "carry=${server%%=*} mebibytes=$memory each=$each"
        verdict "how many clients in $memory MiB"
        sed -n 's/^# //p' "$log"
    done
    ;;
bench)
    rounds=$1 server=$2 visitor=$3 lecture=$cache/lecture
    # What Debian has for these kernels: its busybox has no tcpsvd.
    [ "$debian" = arm64 ]
    program 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross' aarch64-linux-gnu-gcc -O2 -static -o "$lecture" "$4"
    peers=$cache/$kernel-peers
    fetch "$peers" "$debian" "$suites" ipsvd libc6
    pack "$server" "$visitor $lecture $peers/usr/bin/tcpsvd" "$peers/lib"
    boot 512 "bench=$rounds"
    verdict "a bench"
    sed -n 's/^sample //p' "$log"
    ;;
esac
