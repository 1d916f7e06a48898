#!/bin/sh
# The boards: builds the server for each architecture, runs the suite against
# each binary, boots a kernel with it.
#
# usage: boards.sh build|test TARGET...
#        boards.sh boot
set -eu

# What of the suite is run: what the program does, seen from the wire and by its
# system calls. (`deploy`, `manual` and `pure` are about the sources; `faults`
# has the call names of x86_64.)
CASES="artefact:: audit:: cli:: drain:: echo:: entry:: limits:: netcats:: pid1::
    restart:: stdio:: timeouts:: users::"
# Where no emulator is in between; it has no seccomp, and memory of its own.
NATIVE="cage:: soak::"

# Tests that are not run for target $1, and why: each can be for the others.
skipped() {
    case $1 in x86_64-*) return ;; esac
    echo "artefact::reproducible_and_no_panic_is_reachable builds for the host"
    case $1 in i686-*) echo "cage::debugged has the registers of 64 bits" && return ;; esac
    echo "artefact::memory_of_a_running_server would see the emulator's"
    echo "limits::client_is_late_not_lost_when_fork_fails has room for one of two, and the emulator two threads in each"
    echo "drain::signal_at_every_system_call would signal the emulator's calls and threads"
    echo "limits::late_client_counts_for_its_own_source has room for one as well"
    echo "limits::storm_in_slow_motion_misses_no_wake_up would single-step the emulator"
    echo "stdio::few_descriptors_all_taken_by_the_starter leaves none to the emulator"
}

# The static emulator of Debian for $1; none where the host runs it itself.
emulator() {
    case $1 in
    x86_64-* | i686-*) ;;
    thumbv7neon-*) echo qemu-arm-static ;;
    riscv64gc-*) echo qemu-riscv64-static ;;
    *) echo "qemu-${1%%-*}-static" ;;
    esac
}

build() {
    for target; do
        rustup target list --installed | grep -qx "$target" || rustup --quiet target add "$target"
        cargo build --release --quiet --target "$target" --config .cargo/boards.toml
    done
}

# Addresses in the twin: where the constants begin, where they end.
symbol() {
    nm "$1" | awk -v name="$2" '$3 == name { print $1 }'
}

sizes() {
    printf '%-35s %6s %6s %10s\n' target file code constants
    for target; do
        ROT13D_TWIN=1 cargo rustc --release --quiet --bin rot13d \
            --target "$target" --config .cargo/boards.toml --target-dir target/twin -- -C strip=none
        twin=target/twin/$target/release/rot13d
        file=$(stat -c %s "target/$target/release/rot13d")
        code=$((0x$(symbol "$twin" constants) - 0x$(symbol "$twin" code)))
        constants=$((0x$(symbol "$twin" constants_end) - 0x$(symbol "$twin" constants)))
        printf '%-35s %6d %6d %10d\n' "$target" "$file" "$code" "$constants"
    done
}

# Most of a test is waiting, so there are more of them at once than processors.
suite() (
    target=$1 start=$(date +%s)
    ROT13D=$PWD/target/$target/release/rot13d ROT13D_RUNNER=$(emulator "$target")
    export ROT13D ROT13D_RUNNER
    # The target promises vectors, which the program shall do without.
    case $target in thumbv7neon-*) export QEMU_CPU=cortex-a9,neon=off,vfp=off ;; esac
    echo "== $target${ROT13D_RUNNER:+ under $ROT13D_RUNNER}"
    # shellcheck disable=SC2086 # lists of words
    set -- $CASES --test-threads $((3 * $(nproc)))
    # shellcheck disable=SC2086 # lists of words
    [ -n "$ROT13D_RUNNER" ] || set -- $NATIVE "$@"
    for test in $(skipped "$target" | cut -d ' ' -f 1); do
        grep -q "^$test" target/boards.list || { echo "boards.sh: no test $test" >&2 && exit 1; }
        set -- "$@" --skip "$test"
    done
    skipped "$target" | sed 's/^\([^ ]*\)/not run: \1, which/'
    cargo test --release --quiet --test suite -- "$@"
    echo "$(($(date +%s) - start)) s"
)

verb=$1
shift
case $verb in
build)
    build "$@"
    sizes "$@"
    ;;
test)
    build "$@"
    cargo test --release --quiet --test suite -- --list >target/boards.list
    for target; do
        suite "$target"
    done
    ;;
boot)
    build aarch64-unknown-linux-gnu thumbv7neon-unknown-linux-gnueabihf riscv64gc-unknown-linux-gnu
    sh tests/boot/run.sh aarch64 \
        aarch64=target/aarch64-unknown-linux-gnu/release/rot13d \
        armv7=target/thumbv7neon-unknown-linux-gnueabihf/release/rot13d
    sh tests/boot/run.sh riscv64 \
        riscv64=target/riscv64gc-unknown-linux-gnu/release/rot13d
    ;;
esac
