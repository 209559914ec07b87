#!/bin/bash
# Makes the deb and the rpm of the release build, both from one tree that
# `make install DESTDIR=` lays down, with a list of what is linked in.
#
#   tools/packages.sh OUT [VERSION [EDIT]]
#
# Two runs give the same bytes: the time of everything is SOURCE_DATE_EPOCH, the
# last commit's unless it is set. VERSION is Cargo.toml's; tests give another, and
# a program EDIT that changes the tree and a copy of packaging/ beforehand.
#
# Who publishes packages says so in the environment: MAINTAINER="NAME <ADDRESS>"
# and HOMEPAGE=URL. The project has neither; packaging/README.md has more.
set -euo pipefail
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${2:-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)}
# The oldest glibc that the packages promise to run with (Debian 12 has 2.36,
# Ubuntu 22.04 2.35, RHEL 9 2.34).
promised=2.34
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH LC_ALL=C.UTF-8
umask 022

work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
make -s install DESTDIR="$tree" PREFIX=/usr SYSCONFDIR=/etc >/dev/null
tools/sbom.sh "$version" "$tree"
who=(--define '_binary_payload w6.xzdio')
if [ -n "${MAINTAINER:-}" ]; then who+=(--define "packager $MAINTAINER"); fi
if [ -n "${HOMEPAGE:-}" ]; then who+=(--define "homepage $HOMEPAGE"); fi
packaging=$work/packaging
cp -a packaging "$packaging"
if [ -n "${3:-}" ]; then
    "$3" "$tree" "$packaging"
    # For a test, so its size does not matter.
    export DPKG_DEB_COMPRESSOR_LEVEL=0
    who+=(--define '_binary_payload w0.gzdio')
fi

# What the programs ask of glibc, whatever it was built with.
glibc=0
while read -r program; do
    needs=$(objdump -T "$program" 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 || true)
    glibc=$(printf '%s\n' "$glibc" "${needs#GLIBC_}" | sort -V | tail -n 1)
done < <(find "$tree" -type f -perm -u+x)
if [ "$(printf '%s\n' "$glibc" "$promised" | sort -V | tail -n 1)" != "$promised" ]; then
    echo "packages: the program needs glibc $glibc, more than the promised $promised" >&2
    exit 1
fi

rm -f "$out"/wslmesh[_-]*."$(uname -m)".rpm "$out"/wslmesh_*.deb "$out/SHA256SUMS"
if command -v dpkg-deb >/dev/null; then
    cp -a "$tree" "$work/deb"
    "$packaging/deb/build.sh" "$work/deb" "$out" "$version" "$glibc" >/dev/null
fi
if command -v rpmbuild >/dev/null; then
    find "$tree" -depth -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    gzip -9n "$tree"/usr/share/man/man*/*
    # Its directories are its own; the rest belongs to others.
    {
        (cd "$tree" && find . -type d \( -name wslmesh -o -path '*/wslmesh/*' -o -name 'wslmesh.service.d' \) -printf '%%dir /%P\n')
        (cd "$tree" && find . -type f -printf '/%P\n') | sed -e 's|^/etc/.*\.toml$|%config(noreplace) &|' \
            -e 's|^/usr/share/man/.*|%doc &|' -e 's|^/usr/share/doc/.*/LICENSE.*|%license &|' -e 's|^/usr/share/doc/.*|%doc &|'
    } | LC_ALL=C sort >"$work/files"
    sed -i '1i %defattr(-,root,root,-)' "$work/files"
    rpmbuild -bb --quiet --define "_topdir $work/rpm" --define "_dbpath $work/db" --define "_rpmdir $out" --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
        --define "pkgversion $version" --define "tree $tree" --define "filelist $work/files" \
        "${who[@]}" "$packaging/rpm/wslmesh.spec"
fi
(cd "$out" && sha256sum -- *.deb *.rpm >SHA256SUMS)
echo "packages: glibc $glibc or newer (promised: $promised)"
ls -l "$out"
