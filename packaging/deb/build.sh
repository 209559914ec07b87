#!/bin/bash
# Builds the deb from a tree that `make install DESTDIR=TREE` created.
#
#   packaging/deb/build.sh TREE OUT VERSION GLIBC
#
# SOURCE_DATE_EPOCH is the time of everything in it. The tree is changed to Debian's
# conventions (compressed pages, names of documents).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$1 out=$2 version=$3 glibc=$4
case $(uname -m) in
    x86_64) arch=amd64 ;;
    aarch64) arch=arm64 ;;
    *) echo "deb: unknown architecture $(uname -m)" >&2; exit 1 ;;
esac
doc=$tree/usr/share/doc/wslmesh
# A package needs an address and the project has none; .invalid is reserved (RFC 2606).
maintainer=${MAINTAINER:-wslmesh contributors <nobody@wslmesh.invalid>}

# Debian has the licences in one file and installs the common texts itself.
install -m 644 "$here/copyright" "$doc/copyright"
rm -f "$doc"/LICENSE-*
# The changelog in Debian's format points to the project's.
{
    printf 'wslmesh (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * Release %s: see CHANGELOG.md.gz.\n\n' "$version"
    printf ' -- %s  %s\n' "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
} >"$doc/changelog"
# Debian compresses long documents; here those that no manual page names, for example the
# licences' texts, which are a third of a megabyte.
gzip -9nf "$doc"/{changelog,CHANGELOG.md,THIRD-PARTY,architecture.md,benchmarks.md}
find "$tree/usr/share/man" -type f -exec gzip -9n {} +
# Debian's folder for zsh completions of packages.
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
