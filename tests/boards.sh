#!/bin/sh
# The boards: builds the server for each architecture, runs the suite against
# each binary, boots a kernel with it.
#
# usage: boards.sh build|test TARGET...
#        boards.sh boot
set -eu

# What of the suite is run for a foreign program: what is seen from the wire.
# The other modules look at the program's file, its processes, its memory or its
# system calls, where an emulator is in between.
CASES="echo:: netcats::"

# Not of these: what strace would see of the emulator.
SKIP="leave_in_one_write"
# And on a host of 64 bits: what waits for a call by its number in /proc, which is
# another for 32 bits.
FOREIGN="child_holds_its_client rest_is_kept full_buffer_keeps hundred_clients line_as_long_as partial_line_is_kept
    random_pieces reader_that_stalls reset_ends_that_client"

skipped() {
    case $1 in
    i686-*) words="$SKIP $FOREIGN" ;;
    *) words=$SKIP ;;
    esac
    for word in $words; do
        printf -- '--skip %s ' "$word"
    done
}

# The static emulator of Debian for $1; none where the host runs it itself.
emulator() {
    case $1 in
    x86_64-* | i686-*) ;;
    aarch64-*) echo qemu-aarch64-static ;;
    armv7-*) echo qemu-arm-static ;;
    riscv64gc-*) echo qemu-riscv64-static ;;
    s390x-*) echo qemu-s390x-static ;;
    *) echo "boards.sh: no emulator known for $1" >&2 && exit 2 ;;
    esac
}

build() {
    for target; do
        rustup target list --installed | grep -qx "$target" || rustup --quiet target add "$target"
        cargo build --release --quiet --target "$target"
    done
}

# Addresses in the twin: where the constants begin, where they end.
symbol() {
    nm "$1" | awk -v name="$2" '$3 == name { print $1 }'
}

sizes() {
    printf '%-34s %6s %6s %10s\n' target file code constants
    for target; do
        ROT13D_TWIN=1 cargo rustc --release --quiet --bin rot13d --target "$target" --target-dir target/twin -- -C strip=none
        twin=target/twin/$target/release/rot13d
        file=$(stat -c %s "target/$target/release/rot13d")
        code=$((0x$(symbol "$twin" constants) - 0x$(symbol "$twin" code)))
        constants=$((0x$(symbol "$twin" constants_end) - 0x$(symbol "$twin" constants)))
        printf '%-34s %6d %6d %10d\n' "$target" "$file" "$code" "$constants"
    done
}

verb=$1
shift
case $verb in
build)
    build "$@"
    sizes "$@"
    ;;
test)
    build "$@"
    for target; do
        echo "== $target"
        # shellcheck disable=SC2046,SC2086 # lists of words
        ROT13D=$PWD/target/$target/release/rot13d ROT13D_RUNNER=$(emulator "$target") \
            cargo test --release --quiet --test suite -- $CASES $(skipped "$target")
    done
    ;;
boot)
    build aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf
    sh tests/boot/run.sh aarch64 \
        aarch64=target/aarch64-unknown-linux-gnu/release/rot13d \
        armv7=target/armv7-unknown-linux-gnueabihf/release/rot13d
    ;;
esac
