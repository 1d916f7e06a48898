#!/bin/sh
# The boards: builds the server for each architecture, runs the suite against
# each binary, boots a kernel with it.
#
# usage: boards.sh build|test|run TARGET...
#        boards.sh boot
set -eu

folder=$(dirname "$0")

# What of the suite is run: what the program does, seen from the wire and by its
# system calls. (`deploy`, `manual` and `pure` are about the sources; `faults`,
# `token`, `waiting` and others have the call names and registers of x86_64.)
CASES="artefact:: audit:: cli:: drain:: echo:: entry:: limits:: netcats:: pid1::
    recurring:: restart:: sockets:: stdio:: timeouts:: users::"
# Where no emulator is in between; it has no seccomp, and memory of its own.
NATIVE="cage:: calls:: gone:: soak:: start:: stderr:: token:: waiting::"

# Tests that are not run under an emulator, and why: each can be for the others.
skipped() {
    [ -n "$(emulator "$1")" ] || return 0
    cat <<END
artefact::build_with_symbols builds for the host
artefact::reproducible builds for the host
artefact::panic_in builds for the host
artefact::memory_of_a would see the emulator's
drain::signal_at_every_system_call would signal the emulator's calls and threads
limits::client_is_late_not_lost_when_fork_fails has room for one of two, and the emulator two threads in each
limits::late_client_counts_for_its_own_source has room for one as well
limits::storm_in_slow_motion_misses_no_wake_up would single-step the emulator
stdio::few_descriptors_all_taken_by_the_starter leaves none to the emulator
END
}

# What runs a file for $1: an emulator of Debian's, or nothing where the host does.
emulator() {
    case $1 in
    "$(uname -m)"-*) ;;
    arm*-* | thumb*-*) echo qemu-arm-static ;;
    riscv64gc-*) echo qemu-riscv64-static ;;
    *) echo "qemu-${1%%-*}-static" ;;
    esac
}

# The least processor that $1 promises to run on.
processor() {
    case $1 in
    arm-*) echo arm1176 ;;
    armv7-* | thumbv7neon-*) echo cortex-a9,neon=off,vfp=off ;;
    esac
}

build() {
    for target; do
        sh "$folder/target.sh" "$target" build --release --quiet
    done
}

# The table of sizes, as the README has it.
sizes() {
    rustc -V | sed 's/ (.*//; s/.*/Bytes, with &:/'
    echo
    echo "| target | file | text | data | bss |"
    echo "|---|---|---|---|---|"
    for target; do
        file=target/$target/release/rot13d
        size "$file" | awk -v target="$target" -v bytes="$(stat -c %s "$file")" \
            'NR == 2 { printf "| `%s` | %d | %d | %d | %d |\n", target, bytes, $1, $2, $3 }'
    done
}

# Prints the table; compares it with the README's, or, with UPDATE=1, writes it there.
report() {
    sizes "$@" >target/boards.md
    cat target/boards.md
    shown=$(sed -n '/<!-- boards -->/,/<!-- \/boards -->/p' README.md | sed '1d;$d')
    if [ -n "${UPDATE-}" ]; then
        sed -i -e '/<!-- boards -->/,/<!-- \/boards -->/{//!d}' \
            -e '/<!-- boards -->/r target/boards.md' README.md
    elif [ "$(echo "$shown" | head -n 1)" != "$(head -n 1 target/boards.md)" ]; then
        echo "(not compared with the README's, which are of another compiler)"
    else
        # Each line that is here must stand there.
        while read -r line; do
            if ! echo "$shown" | grep -qxF -- "$line"; then
                echo "boards.sh: the README has other sizes: make boards UPDATE=1" >&2
                exit 1
            fi
        done <target/boards.md
    fi
}

# Most of a test is waiting, so there are more of them at once than processors.
suite() (
    target=$1 start=$(date +%s)
    ROT13D=$PWD/target/$target/release/rot13d ROT13D_RUNNER=$(emulator "$target") QEMU_CPU=$(processor "$target")
    export ROT13D ROT13D_RUNNER QEMU_CPU
    [ -n "$QEMU_CPU" ] || unset QEMU_CPU
    echo "== $target${ROT13D_RUNNER:+ under $ROT13D_RUNNER}${QEMU_CPU:+, a $QEMU_CPU}"
    # shellcheck disable=SC2086 # lists of words
    set -- $CASES --test-threads $((3 * $(nproc)))
    # shellcheck disable=SC2086 # lists of words
    [ -n "$ROT13D_RUNNER" ] || set -- $NATIVE "$@"
    for test in $(skipped "$target" | cut -d ' ' -f 1); do
        grep -q "^$test" target/boards.list || { echo "boards.sh: no test $test" >&2 && exit 1; }
        set -- "$@" --skip "$test"
    done
    skipped "$target" | sed 's/^\([^ ]*\)/   not run: \1, which/'
    log=target/boards-$target.log
    if ! cargo test --release --quiet --test suite -- "$@" >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
    sed -n 's/^test result: ok. /   /p' "$log" | sed 's/ 0 measured; .*//'
    echo "   $(($(date +%s) - start)) s"
)

verb=$1
shift
case $verb in
build)
    build "$@"
    report "$@"
    ;;
run)
    build "$1"
    QEMU_CPU=$(processor "$1")
    [ -z "$QEMU_CPU" ] || export QEMU_CPU
    # shellcheck disable=SC2046 # nothing, where none is needed
    exec $(emulator "$1") "target/$1/release/rot13d" -v
    ;;
test)
    build "$@"
    cargo test --release --quiet --test suite -- --list >target/boards.list
    for target; do
        suite "$target"
    done
    ;;
boot)
    build aarch64-unknown-linux-gnu thumbv7neon-unknown-linux-gnueabihf \
        arm-unknown-linux-gnueabihf riscv64gc-unknown-linux-gnu
    sh "$folder/boot/run.sh" aarch64 \
        aarch64=target/aarch64-unknown-linux-gnu/release/rot13d \
        armv7=target/thumbv7neon-unknown-linux-gnueabihf/release/rot13d
    sh "$folder/boot/run.sh" riscv64 \
        riscv64=target/riscv64gc-unknown-linux-gnu/release/rot13d
    ;;
esac
