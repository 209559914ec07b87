#!/bin/bash
# Makes an rpm in place of the rest of a distribution: it provides what ours
# requires, where that is something every distribution has. Anything else fails.
#
#   tests/stub.sh RPM OUT
set -euo pipefail
rpm=$(realpath "$1") out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
known='^(/bin/sh|systemd|rtld\(GNU_HASH\)|(libc|libm|libgcc_s|ld-linux-[a-z0-9-]*)\.so\.[0-9]+\((GLIBC_|GCC_)?[0-9.]*\)\(64bit\))$'
{
    printf '%s\n' 'Name: distribution' 'Version: 1' 'Release: 1' 'Summary: Stub of a distribution' \
        'License: MIT' 'BuildArch: noarch'
    while read -r wanted; do
        case $wanted in 'rpmlib('* | 'config(wslmesh) '*) continue ;; esac
        [[ $wanted =~ $known ]] || { echo "the rpm requires what not every distribution has: $wanted" >&2; exit 1; }
        echo "Provides: $wanted"
    done < <(rpm --dbpath "$work/db" -qp --requires "$rpm" | sort -u)
    printf '%s\n' '%description' 'For tests.' '%files'
} >"$work/distribution.spec"
rpmbuild -bb --quiet --define "_topdir $work/rpm" --define "_dbpath $work/db" --define "_rpmdir $out" --define '_build_name_fmt %%{NAME}.rpm' "$work/distribution.spec"
