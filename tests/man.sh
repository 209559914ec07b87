#!/bin/bash
# Holds the man pages to the program: each command has a page, each of its options
# a place in it, and each key of the configuration that is shipped one in
# wslmesh.toml(5). Pages are good roff and fit a terminal.
#
#   tests/man.sh BINARY
set -euo pipefail
binary=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bad=0
want() { # want PAGE WORD
    # Bold or plain, with the hyphens that roff wants escaped. Without -q: a grep
    # that ends early would break the pipe, and that would count as "not found".
    if ! sed 's/\\f[BIRP]//g; s/\\-/-/g; s/"//g' "$1" | grep -E "(^|[^a-z-])$2([^a-z-]|\$)" >/dev/null; then
        echo "$1 says nothing of: $2"
        bad=1
    fi
}
commands() { "$binary" "$@" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'; }
options() { "$binary" "$@" --help | sed -n '/^Options:/,/^$/p' | grep -oE -- '--[a-z][a-z-]*'; }
seen=0
walk() {
    local name page=man/wslmesh${1:+-$1}.8
    while read -r name; do want "$page" "$name"; done < <(options "$@")
    while read -r name; do
        [ "$name" != help ] || continue
        seen=$((seen + 1))
        if [ $# = 0 ]; then want man/wslmesh.8 "wslmesh-$name"; else want "$page" "${*:+$* }$name"; fi
        walk "$@" "$name"
    done < <(commands "$@")
}
walk
[ "$seen" -ge 14 ] || { echo "only $seen commands were found in --help"; bad=1; }
while read -r key; do want man/wslmesh.toml.5 "$key"; done \
    < <(sed -n 's/^#\([a-z][a-z-]*\) =.*/\1/p; s/^#\{0,1\}\[\[\{0,1\}\([a-z]*\)\].*/\1/p' packaging/wslmesh.toml | sort -u)
while read -r key; do want man/wsl-network.conf.5 "$key"; done \
    < <(sed -n 's/^\([A-Z_]*\)=.*/\1/p' config/network/wsl-network.conf)
for page in man/*.[58]; do
    said=$(groff -man -Tutf8 -ww -z "$page" 2>&1 || true)
    [ -z "$said" ] || { echo "$page: $said"; bad=1; }
    # As man(1) has it for a terminal of 80 columns.
    wide=$(groff -man -Tutf8 -P-cbou -rLL=78n "$page" | grep -E '^.{81}' || true)
    [ -z "$wide" ] || { printf '%s is too wide:\n%s\n' "$page" "$wide"; bad=1; }
done
# A page of ours that another refers to exists.
while read -r page; do
    [ -e "man/$page" ] || { echo "man/$page is referred to and missing"; bad=1; }
done < <(sed 's/\\-/-/g' man/*.[58] | sed -n 's/^\.BR \(wsl[a-z.-]*\) (\([58]\)).*/\1.\2/p' | sort -u)
exit "$bad"
