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
# The project has no address to write to. A package wants one, and .invalid is the
# domain that is promised never to be anybody's (RFC 2606).
maintainer=${MAINTAINER:-wslmesh contributors <nobody@wslmesh.invalid>}

# Debian has the licences in one file; the texts it knows are at their place in
# every system, so those of the package go.
install -m 644 "$here/copyright" "$doc/copyright"
rm -f "$doc"/LICENSE-*
# Debian's own form of a changelog points at the project's.
{
    printf 'wslmesh (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * Release %s: see CHANGELOG.md.\n\n' "$version"
    printf ' -- %s  %s\n' "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} >"$doc/changelog"
gzip -9nf "$doc/changelog"
find "$tree/usr/share/man" -type f -exec gzip -9n {} +
# What packages bring for zsh has a folder of its own there.
if [ -d "$tree/usr/share/zsh/site-functions" ]; then
    mv "$tree/usr/share/zsh/site-functions" "$tree/usr/share/zsh/vendor-completions"
fi

control=$tree/DEBIAN
mkdir -p "$control"
size=$(du -k --apparent-size -s --exclude=DEBIAN "$tree" | cut -f 1)
{
    sed -e "/^Description:/,\$d; s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@GLIBC@/$glibc/; s/@SIZE@/$size/" "$here/control"
    printf 'Maintainer: %s\n' "$maintainer"
    if [ -n "${HOMEPAGE:-}" ]; then printf 'Homepage: %s\n' "$HOMEPAGE"; fi
    sed -n '/^Description:/,$p' "$here/control"
} >"$control/control"
install -m 644 "$here/conffiles" "$control/conffiles"
for script in postinst prerm postrm; do install -m 755 "$here/$script" "$control/$script"; done
(cd "$tree" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$control/md5sums"
chmod 644 "$control"/{control,md5sums}
find "$tree" -depth -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/wslmesh_${version}_${arch}.deb"
