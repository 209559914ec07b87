#!/bin/bash
# Writes what is linked into the programs of a tree that `make install` laid
# down. No time and no serial number, so that the same sources give the same bytes.
#
#   tools/sbom.sh VERSION TREE
#   tools/sbom.sh crates TREE    only names them: NAME VERSION|LICENCE, one a line
#
#   wslmesh.cdx.json   name, version, licence, checksum of each crate (CycloneDX 1.5)
#   THIRD-PARTY        the crates' licences and notices, word for word
#
# cargo's tree knows what is linked, its metadata mixes in what tests switch on. It reads
# crates, too, that no build has fetched, so it is not offline.
set -euo pipefail
version=$1 tree=$(cd "$2" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
platforms=("$(rustc -vV | sed -n 's/^host: //p')")
if [ -e "$tree/usr/lib/wslmesh/windows/wslmesh-relay.exe" ]; then platforms+=(x86_64-pc-windows-gnu); fi

crates() {
    local platform package=()
    for platform in "${platforms[@]}"; do
        cargo tree --locked --offline -e normal --target "$platform" "${package[@]}" --prefix none --format '{p}|{l}'
        package=(--package wslmesh-relay) # on Windows
    done | sed -n 's/ (\*)$//; /^wslmesh[ -]/!s/^\([^ ]*\) v\([^ |]*\)[^|]*|/\1 \2|/p' | LC_ALL=C sort -u
}

if [ "$version" = crates ]; then
    crates
else
    crates >"$tree/crates"
    cargo metadata --quiet --format-version 1 --locked "${platforms[@]/#/--filter-platform=}" \
        | python3 tools/sbom.py "$version" "$tree/crates" "$tree/usr/share/doc/wslmesh"
    rm "$tree/crates"
fi
