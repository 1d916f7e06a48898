#!/bin/sh
# cargo for another architecture: linked by the toolchain's own linker, so that no
# cross compiler is needed, whatever linker is configured.
#
# usage: target.sh TARGET VERB [ARGUMENT...]      target.sh aarch64-unknown-linux-gnu build --release
set -eu

target=$1 verb=$2
shift 2
cargo=${CARGO:-cargo}

host=$(rustc -vV | sed -n 's/^host: //p')
if [ "$target" = "$host" ]; then
    exec "$cargo" "$verb" --target "$target" "$@"
fi

installed() { [ -e "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; }
need_rustup() {
    command -v rustup >/dev/null && return
    echo "no library of Rust for $target is installed, and there is no rustup to install it" >&2
    exit 1
}

# What was refused once is not asked for at every build. (boards.sh looks at this, too.)
refused=target/refused/$target
if installed; then
    rm -f "$refused"
elif [ ! -e "$refused" ]; then
    need_rustup
    echo "adding $target to your Rust toolchain (rustup target add)" >&2
    rustup --quiet target add "$target" 2>/dev/null || {
        mkdir -p target/refused
        : >"$refused"
    }
fi
if ! installed; then
    # A target whose library is nowhere to be had: the part that is needed is built.
    if [ ! -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/core" ]; then
        need_rustup
        echo "it is not to be had: adding the sources of the library (rustup component add rust-src)" >&2
        rustup --quiet component add rust-src
    fi
    export RUSTC_BOOTSTRAP=1
    set -- -Zbuild-std=core "$@"
fi
# The start files of musl would be linked along. (src/layout.ld takes them out again, but
# on x86_64 a table of theirs would stay.)
case $target in
*-musl*)
    if [ -n "${RUSTFLAGS-}" ]; then
        export RUSTFLAGS="$RUSTFLAGS -Clink-self-contained=no"
    else
        set -- --config "target.$target.rustflags=[\"-Clink-self-contained=no\"]" "$@"
    fi
    ;;
esac
# This goes before whatever cargo's configuration says; and build.rs hears of it.
export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=rust-lld"
exec "$cargo" "$verb" --target "$target" "$@"
