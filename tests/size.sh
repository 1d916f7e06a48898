#!/bin/sh
# What the file is made of: its segments, and the sections and biggest
# functions of a twin that differs only in having names. Fails if the file is
# larger than it may be.
#
# usage: size.sh FILE MOST [TARGET]
set -eu

file=$1 most=$2 target=$3
size=$(stat -c %s "$file")
twin=target/twin/${target:+$target/}release/rot13d

echo "$file: $size bytes of $most"
echo
readelf -lW "$file" | sed -n '/Program Headers/,/GNU_STACK/p'
echo
ROT13D_TWIN=1 cargo rustc --release --quiet --bin rot13d ${target:+--target "$target" --config .cargo/boards.toml} --target-dir target/twin -- -C strip=none
readelf -SW "$twin" | grep -E ' (\.text|\.bss) '
echo
echo "The biggest functions and constants (bytes, name):"
nm -S --size-sort --radix=d --demangle "$twin" | awk '$3 ~ /[tTrR]/ { print $2 + 0, $4 }' | sort -rn | head -n 25

if [ -z "$target" ] && [ "$(uname -m)" = x86_64 ] && [ "$size" -gt "$most" ]; then
    echo "$file: $((size - most)) bytes too many" >&2
    exit 1
fi
