#!/bin/sh
# Packages, the same to the byte wherever and whenever they are made from the same
# sources: for each board a tarball, a .deb and the list of what the server is made
# of (CycloneDX), and the checksums of all of them.
#
# usage: dist.sh TARGET...     each is built already
set -eu

out=target/dist stage=target/stage
PATH=$PWD/target/tools/bin:$PATH
LC_ALL=C
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export PATH LC_ALL SOURCE_DATE_EPOCH
umask 022
version=$(cargo pkgid | sed 's/.*[#@]//')
rm -rf "$out" "$stage"
mkdir -p "$out" "$stage"

# What Cargo.toml has cargo-deb take: the units for a server in /usr/sbin.
make --silent install-systemd DESTDIR="$PWD/$stage" PREFIX=/usr SYSTEMD=/units >/dev/null

for target; do
    name=rot13d-$version-$target
    # It has no other option for where the file goes than its name in this folder,
    # and names the folder in it.
    cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --override-filename "$name.cdx"
    sed "s|path+file://$PWD#|path+file:///rot13d#|g" "$name.cdx.json" >"$out/$name.cdx.json"
    rm "$name.cdx.json"

    mkdir "$stage/$name"
    cp "target/$target/release/rot13d" src/rot13d.8 "$out/$name.cdx.json" README.md LICENSE "$stage/$name"
    cp -R contrib "$stage/$name"
    tar --create --directory "$stage" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$name" | gzip -9n >"$out/$name.tar.gz"

    cargo deb --quiet --no-build --no-strip --target "$target" --output "$out/$name.deb" >/dev/null
done

(cd "$out" && sha256sum -- *.tar.gz *.deb *.json >SHA256SUMS)
rm -r "$stage"
ls -l "$out"
