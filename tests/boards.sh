#!/bin/sh
# The boards: builds the server for each architecture, runs it, runs the suite
# against each binary, boots kernels with it.
#
# usage: boards.sh build|sizes|test TARGET...
#        boards.sh run TARGET
#        boards.sh ways|boot|carry
#        boards.sh bench ROUNDS
set -eu

folder=$(dirname "$0")

# What of the suite is run: what the program does, seen from the wire and by its
# system calls. (`deploy`, `manual` and `pure` are about the sources; `faults`,
# `token`, `waiting` and others have the call names and registers of x86_64.)
CASES="artefact:: audit:: cli:: drain:: echo:: entry:: limits:: netcats:: pid1::
    recurring:: restart:: sockets:: stdio:: timeouts:: users::"
# Where no emulator is in between; it has no seccomp, and memory of its own.
NATIVE="cage:: calls:: gone:: soak:: start:: stderr:: token:: waiting::"

# Tests that are not run for target $1, and why: each can be for the others, or
# with `make test`.
skipped() {
    cat <<END
artefact::build_with_symbols is about a build for which no target is named
artefact::reproducible is about a build for which no target is named
END
    [ -n "$(emulator "$1")" ] || return 0
    cat <<END
artefact::panic_in builds for the host
artefact::memory_of_a would see the emulator's
drain::signal_at_every_system_call would signal the emulator's calls and threads
limits::client_is_late_not_lost_when_fork_fails has room for one of two, and the emulator two threads in each
limits::late_client_counts_for_its_own_source has room for one as well
limits::storm_in_slow_motion_misses_no_wake_up would single-step the emulator
stdio::descriptors_for_no_client_at_all leaves none to the emulator
stdio::few_descriptors_all_taken_by_the_starter leaves none to the emulator
END
}

# What runs a file for $1: an emulator of Debian's, or nothing where this kernel
# does: that of a 64-bit board may run the files of a 32-bit one.
emulator() {
    case $1-on-$(uname -m) in
    x86_64-*-on-x86_64 | aarch64-*-on-aarch64 | riscv64gc-*-on-riscv64) return ;;
    arm*-on-arm* | thumb*-on-arm* | arm*-on-aarch64 | thumb*-on-aarch64)
        ! "target/$1/release/rot13d" -V >/dev/null 2>&1 || return 0
        ;;
    esac
    case $1 in
    arm*-* | thumb*-*) echo qemu-arm-static ;;
    riscv64gc-*) echo qemu-riscv64-static ;;
    *) echo "qemu-${1%%-*}-static" ;;
    esac
}

# The least processor that $1 promises to run on.
processor() {
    case $1 in
    arm-*) echo arm1176 ;;
    armv7-*) echo cortex-a9,neon=off ;;
    thumbv7neon-*) echo cortex-a9 ;;
    esac
}

build() {
    for target; do
        sh "$folder/target.sh" "$target" build --release --quiet
    done
}

# The table of sizes, as the README has it. A target whose library could not be had as
# it comes with Rust has other sizes, and says so.
sizes() {
    rustc -V | sed 's/.*/Bytes, with &:/'
    echo
    echo "| target | file | text | data | bss |"
    echo "|---|---|---|---|---|"
    for target; do
        file=target/$target/release/rot13d
        name="\`$target\`"
        [ ! -e "target/refused/$target" ] || name="$name, library built from source"
        size "$file" | awk -v name="$name" -v bytes="$(stat -c %s "$file")" \
            'NR == 2 { printf "| %s | %d | %d | %d | %d |\n", name, bytes, $1, $2, $3 }'
    done
}

# Prints the table; compares it with the README's, or, with UPDATE=1, writes it there.
report() {
    sizes "$@" >target/boards.md
    cat target/boards.md
    shown=$(sed -n '/<!-- boards -->/,/<!-- \/boards -->/p' README.md | sed '1d;$d')
    if [ -n "${UPDATE-}" ]; then
        in_readme boards target/boards.md
    elif [ "$(echo "$shown" | head -n 1)" != "$(head -n 1 target/boards.md)" ]; then
        echo "(not compared with the README's, which are of another compiler)"
    else
        # Each line that is here must stand there, unless the target has another library there.
        while read -r line; do
            if echo "$shown" | grep -qxF -- "$line"; then
                continue
            fi
            name=$(echo "$line" | cut -d '|' -f 2)
            target=${name%\`*}\`
            if echo "$shown" | grep -F -- "|$target" | grep -qvF -- "|$name|"; then
                echo "(not compared for$target: the README has it with another library)"
                continue
            fi
            echo "boards.sh: the README has other sizes: make boards UPDATE=1" >&2
            exit 1
        done <target/boards.md
    fi
}

# Says how the binary for $1 is run here, to the tests and to the emulator.
with_emulator() {
    ROT13D=$PWD/target/$1/release/rot13d ROT13D_RUNNER=$(emulator "$1") QEMU_CPU=
    if [ -n "$ROT13D_RUNNER" ]; then
        QEMU_CPU=$(processor "$1")
        if ! command -v "$ROT13D_RUNNER" >/dev/null; then
            echo "$1 does not run here without $ROT13D_RUNNER (Debian's package qemu-user-static)" >&2
            exit 1
        fi
    fi
    how=${ROT13D_RUNNER:-this kernel}${QEMU_CPU:+, $QEMU_CPU}
    export ROT13D ROT13D_RUNNER QEMU_CPU
    [ -n "$QEMU_CPU" ] || unset QEMU_CPU
}

# Most of a test is waiting, so there are more of them at once than processors.
suite() (
    target=$1 start=$(date +%s) log=target/boards-$1.log
    with_emulator "$target"
    # shellcheck disable=SC2086 # lists of words
    set -- $CASES --test-threads $((3 * $(nproc)))
    # shellcheck disable=SC2086 # lists of words
    [ -n "$ROT13D_RUNNER" ] || set -- $NATIVE "$@"
    for test in $(skipped "$target" | cut -d ' ' -f 1); do
        grep -q "^$test" target/boards.list || { echo "boards.sh: no test $test" >&2 && exit 1; }
        set -- "$@" --skip "$test"
    done
    if ! cargo test --release --quiet --test suite -- "$@" >"$log" 2>&1; then
        cat "$log" >&2
        echo "$target, $how: failed" >&2
        exit 1
    fi
    printf '%-36s %-27s %s passed, %s not run, %d s\n' "$target" "$how" \
        "$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$log")" \
        "$(skipped "$target" | grep -c . || :)" $(($(date +%s) - start))
)

# The tests that take another target or a cross compiler: builds in all ways that people
# have, and a board without 32-bit time, which no emulator plays.
ways() {
    start=$(date +%s) log=target/boards-ways.log
    for target in x86_64-unknown-linux-musl aarch64-unknown-linux-gnu aarch64-unknown-linux-musl \
        armv7-unknown-linux-gnueabihf; do
        sh "$folder/target.sh" "$target" fetch --quiet
    done
    if ! cargo test --release --quiet --test suite -- --ignored builds:: waiting:: >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
    printf '%-64s %s passed, %d s\n' "cargo or make, gcc or rust-lld, -gnu or -musl: the same server" \
        "$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$log")" $(($(date +%s) - start))
}

# The client of the boot test, as small as the server.
crowd() {
    for target; do
        RUSTFLAGS="-Crelocation-model=static -Clink-arg=-nostdlib" CARGO_TARGET_DIR=target/crowd \
            sh "$folder/target.sh" "$target" build --release --quiet --manifest-path "$folder/boot/crowd/Cargo.toml"
    done
}

boot() {
    arm64=aarch64-unknown-linux-gnu armv7=thumbv7neon-unknown-linux-gnueabihf
    armv6=arm-unknown-linux-gnueabihf riscv64=riscv64gc-unknown-linux-gnu
    build $arm64 $armv7 $armv6 $riscv64
    rm -f target/boot/*.console
    run="sh $folder/boot/run.sh"
    $run test aarch64 aarch64=target/$arm64/release/rot13d armv7=target/$armv7/release/rot13d
    $run test aarch64-16k aarch64=target/$arm64/release/rot13d armv7=target/$armv7/release/rot13d
    $run test armv6 armv6=target/$armv6/release/rot13d
    $run test riscv64 riscv64=target/$riscv64/release/rot13d
    echo 'Each was checked for:'
    $run checks
}

# in_readme NAME FILE: puts a file between the README's marks of that name.
in_readme() {
    sed -i -e "/<!-- $1 -->/,/<!-- \/$1 -->/{//!d}" -e "/<!-- $1 -->/r $2" README.md
}

# How many clients boards carry: it takes minutes. UPDATE=1 writes it into the README.
carry() {
    arm64=aarch64-unknown-linux-gnu armv6=arm-unknown-linux-gnueabihf run="sh $folder/boot/run.sh"
    build $arm64 $armv6
    crowd $arm64 $armv6
    {
        echo '| machine | memory, MiB | free, MiB | a client, KiB | clients | what holds the next one back |'
        echo '|---|---|---|---|---|---|'
        $run carry armv6 armv6=target/$armv6/release/rot13d target/crowd/$armv6/release/crowd 32 64 128
        $run carry aarch64 aarch64=target/$arm64/release/rot13d target/crowd/$arm64/release/crowd 64 128
    } >target/carry.md
    echo 'How many clients a board carries in half of its free memory; one more is late, not lost:'
    cat target/carry.md
    [ -z "${UPDATE-}" ] || in_readme carry target/carry.md
}

# The bench's client, with Rust's own libc in it.
visitor() {
    [ -e "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] || rustup --quiet target add "$1"
    CARGO_TARGET_DIR=target/bench cargo build --release --quiet --bin visitor \
        --manifest-path "$folder/bench/Cargo.toml" --target "$1" --config "target.$1.linker=\"rust-lld\""
}

# What a client costs on a board, against other servers.
bench() {
    arm64=aarch64-unknown-linux-gnu musl=aarch64-unknown-linux-musl
    build $arm64
    visitor $musl
    sh "$folder/boot/run.sh" bench aarch64 "$1" rot13d=target/$arm64/release/rot13d \
        target/bench/$musl/release/visitor "$folder/bench/rivals/lecture.c"
}

verb=$1
shift
case $verb in
build)
    build "$@"
    ;;
sizes)
    build "$@"
    report "$@"
    ;;
run)
    build "$1"
    with_emulator "$1"
    echo "$1, run by $how" >&2
    # shellcheck disable=SC2086 # nothing, where none is needed
    exec $ROT13D_RUNNER "$ROT13D" -v
    ;;
test)
    build "$@"
    cargo test --release --quiet --test suite -- --list >target/boards.list
    for target; do
        suite "$target"
    done
    for target; do
        skipped "$target"
    done | sort -u | sed 's/^\([^ ]*\)/  not run: \1, which/'
    ;;
ways)
    ways
    ;;
boot)
    boot
    ;;
carry)
    carry
    ;;
bench)
    bench "$1"
    ;;
esac
