#!/bin/sh
# Builds the server with the oldest Rust that will do (rust-version in
# Cargo.toml), the one that is installed, the newest stable one and beta; each
# without a warning, and each of these servers starts, echoes a line and ends.
# What is not installed is fetched by rustup into target/rustup: nothing is added
# to yours. A version that cannot be had is named.
#
# usage: toolchains.sh
set -eu

mine=${RUSTUP_HOME:-$HOME/.rustup}
theirs=$PWD/target/rustup
oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
logs=target/toolchains
missing="" seen="" failed=""
mkdir -p "$logs"

# smoke_test SERVER: its port, a line and back, TERM, exit 0.
smoke_test() (
    scratch=$(mktemp -d)
    mkfifo "$scratch/port"
    "$1" -1 127.0.0.1 0 >"$scratch/port" 2>"$scratch/log" &
    server=$!
    trap 'kill -KILL $server 2>/dev/null || :; rm -r "$scratch"' EXIT
    read -r port <"$scratch/port"
    answer=$(echo 'Hello, World!' | timeout 60 nc.openbsd -N 127.0.0.1 "$port")
    kill -TERM $server
    code=0
    wait $server || code=$?
    [ "$answer/$code" = 'Uryyb, Jbeyq!/0' ] && exit
    echo "answer: $answer, exit $code" >&2
    cat "$scratch/log" >&2
    exit 1
)

# try NAME RUSTUP_HOME TOOLCHAIN
try() {
    version=$(RUSTUP_HOME=$2 RUSTUP_TOOLCHAIN=$3 rustc --version 2>/dev/null) || {
        missing="$missing $1"
        printf '%-14s cannot be had here\n' "$1"
        return
    }
    case $seen in
    *"|$version|"*)
        printf '%-14s the same: %s\n' "$1" "$version"
        return
        ;;
    esac
    seen="$seen|$version|"
    code=0 log=$logs/$1.log
    RUSTUP_HOME=$2 RUSTUP_TOOLCHAIN=$3 CARGO_TARGET_DIR=$logs/$1 cargo build --release >"$log" 2>&1 || code=$?
    file=$logs/$1/release/rot13d
    if [ $code -ne 0 ]; then
        verdict="does not build"
    elif grep -q '^warning' "$log"; then
        verdict="builds with a warning"
    elif ! smoke_test "$file" >>"$log" 2>&1; then
        verdict="builds, and does not serve"
    else
        printf '%-14s %s: %s bytes, no warning, serves\n' "$1" "$version" "$(stat -c %s "$file")"
        return
    fi
    printf '%-14s %s: %s; from %s:\n' "$1" "$version" "$verdict" "$log"
    grep -E -A 3 '^(warning|error)|rust-lld: error|answer:' "$log" | grep -v -e ' note: *"' | head -n 12 | cut -c 1-200
    failed="$failed $1"
}

# fetch TOOLCHAIN: the newest of that name.
fetch() {
    RUSTUP_HOME=$theirs rustup --quiet toolchain install "$1" --profile minimal --no-self-update >"$logs/rustup.log" 2>&1 || :
}

try installed "$mine" "${RUSTUP_TOOLCHAIN:-$(rustup show active-toolchain | cut -d ' ' -f 1)}"
if RUSTUP_HOME=$mine rustup run "$oldest" rustc --version >/dev/null 2>&1; then
    try oldest "$mine" "$oldest"
else
    fetch "$oldest"
    try oldest "$theirs" "$oldest"
fi
for channel in stable beta; do
    fetch "$channel"
    try "newest-$channel" "$theirs" "$channel"
done
if [ -n "$missing" ]; then
    echo "not tried, since rustup did not get them:$missing"
fi
[ -z "$failed" ] || exit 1
