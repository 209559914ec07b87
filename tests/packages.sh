#!/bin/bash
# Makes the packages twice and compares, asks lintian and rpmlint, and makes the
# "previous version" that the system tests upgrade from.
#
#   tests/packages.sh OUT
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
again=$(mktemp -d "$out/.again.XXXXXX")
trap 'rm -rf "$again"' EXIT

tools/packages.sh "$out"
# Another folder, time and mask: none of them may show.
(umask 077 && tools/packages.sh "$again" >/dev/null)
diff "$out/SHA256SUMS" "$again/SHA256SUMS"
echo "two builds give the same bytes"
tools/packages.sh "$out/previous" 0.0.9 >/dev/null

# rpmlint.toml names each exception with its reason; lintian needs none.
lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$out"/*.deb
rpmlint --config packaging/rpm/rpmlint.toml "$out"/*.rpm
# systemd takes the catalog, every entry of it.
root=$again/catalog
install -D -m 644 systemd/wslmesh.catalog "$root/usr/lib/systemd/catalog/wslmesh.catalog"
said=$(journalctl --update-catalog --root="$root" 2>&1 || echo failed)
[ -z "$said" ] || { echo "journalctl on the catalog: $said" >&2; exit 1; }
[ "$(journalctl --dump-catalog --root="$root" | grep -c '^-- ')" = "$(grep -c '^-- ' systemd/wslmesh.catalog)" ]
python3 -m json.tool >/dev/null < <(dpkg-deb --fsys-tarfile "$out"/*.deb | tar -xO ./usr/share/doc/wslmesh/wslmesh.cdx.json)
systemd-analyze security --offline=yes --threshold=25 systemd/wslmesh.service >/dev/null
