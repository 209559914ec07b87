#!/bin/bash
# Makes the deb of a tree that `make install DESTDIR=TREE` laid down.
#
#   packaging/deb/build.sh TREE OUT VERSION GLIBC
#
# SOURCE_DATE_EPOCH is the time of everything in it. The tree is changed: what
# Debian wants otherwise (compressed pages, names of documents) is made so.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$1 out=$2 version=$3 glibc=$4
case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) echo "deb: no name is known for the machine $(uname -m)" >&2; exit 1 ;;
esac
doc=$tree/usr/share/doc/wslmesh

# Debian has the licences in one file; the texts it knows are at their place in
# every system, so those of the package go.
install -m 644 "$here/copyright" "$doc/copyright"
rm -f "$doc"/LICENSE-*
# Debian's own form of a changelog points at the project's.
{
    printf 'wslmesh (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * Release %s: see CHANGELOG.md.\n\n' "$version"
    printf ' -- The wslmesh contributors <wslmesh@users.noreply.github.com>  %s\n' "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} >"$doc/changelog"
gzip -9nf "$doc/changelog"
find "$tree/usr/share/man" -type f -exec gzip -9n {} +

control=$tree/DEBIAN
mkdir -p "$control"
size=$(du -k --apparent-size -s --exclude=DEBIAN "$tree" | cut -f 1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@GLIBC@/$glibc/; s/@SIZE@/$size/" "$here/control" >"$control/control"
install -m 644 "$here/conffiles" "$control/conffiles"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$control/$script"; done
(cd "$tree" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$control/md5sums"
chmod 644 "$control"/{control,md5sums}
find "$tree" -depth -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/wslmesh_${version}_${arch}.deb"
