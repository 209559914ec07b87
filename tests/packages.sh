#!/bin/bash
# Makes the packages twice and compares, asks lintian and rpmlint, looks for every
# crate's licence, lets dnf solve the rpm, and makes the earlier version that the
# system tests upgrade from.
#
#   tests/packages.sh OUT
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d "$out/.again.XXXXXX")
trap 'rm -rf "$work"' EXIT
# A maintainer's own name is for releases.
unset MAINTAINER HOMEPAGE

tools/packages.sh "$out"
# Another folder, time and mask: none of them may show.
(umask 077 && tools/packages.sh "$work/again" >/dev/null)
diff "$out/SHA256SUMS" "$work/again/SHA256SUMS"
echo "two builds give the same bytes"
tools/packages.sh "$out/previous" 0.0.9 tests/previous.sh >/dev/null

# rpmlint.toml names each exception with its reason; lintian needs none.
lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$out"/*.deb
rpmlint --config packaging/rpm/rpmlint.toml "$out"/*.rpm
# systemd takes the catalog, every entry of it.
root=$work/catalog
install -D -m 644 systemd/wslmesh.catalog "$root/usr/lib/systemd/catalog/wslmesh.catalog"
said=$(journalctl --update-catalog --root="$root" 2>&1 || echo failed)
[ -z "$said" ] || { echo "journalctl on the catalog: $said" >&2; exit 1; }
[ "$(journalctl --dump-catalog --root="$root" | grep -c '^-- ')" = "$(grep -c '^-- ' systemd/wslmesh.catalog)" ]
systemd-analyze security --offline=yes --threshold=23 systemd/wslmesh.service >/dev/null

label=$(rpm --dbpath "$work/db" -qp --qf '%{LICENSE}' "$out"/*.rpm)
mkdir "$work"/{tree,log}
dpkg-deb -x "$out"/*.deb "$work/tree"
for program in usr/bin/wslmesh usr/lib/wslmesh/wslmesh-relay; do
    # build.rs: an eighth of the size.
    if readelf -SW "$work/tree/$program" | grep eh_frame; then echo "$program has tables for unwinding" >&2; exit 1; fi
done
tools/sbom.sh crates "$work/tree" | python3 tests/licences.py "$work/tree/usr/share/doc/wslmesh" "$label"

# dnf finds everything that the rpm asks for, in a root and a repository of the test's.
tests/stub.sh "$out"/*.rpm "$work/repo"
cp "$out"/*.rpm "$work/repo"
createrepo_c --quiet "$work/repo"
dnf -q -y --installroot "$work/root" --repofrompath "test,file://$work/repo" --repo test --nogpgcheck --releasever 1 \
    --setopt=reposdir=/nonexistent --setopt=varsdir=/nonexistent --setopt=tsflags=noscripts --setopt=cachedir="$work/cache" \
    --setopt=logdir="$work/log" --setopt=persistdir="$work/state" install wslmesh >"$work/dnf" 2>&1 || { cat "$work/dnf" >&2; exit 1; }
[ -x "$work/root/usr/bin/wslmesh" ]
echo "dnf installs the rpm"
