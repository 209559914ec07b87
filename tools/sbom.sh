#!/bin/bash
# Prints what is linked into the programs, as CycloneDX 1.5 JSON, from cargo's
# own metadata: name, version, licence and checksum of each crate that the
# normal dependencies reach on this platform. No time and no serial number, so
# that the same sources give the same bytes.
#
#   tools/sbom.sh VERSION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
cargo metadata --format-version 1 --locked --offline --filter-platform "$host" 2>/dev/null \
    | python3 tools/sbom.py "$1"
