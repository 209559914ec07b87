#!/bin/bash
# Holds the man pages to the program: each command and option that it offers,
# and each key of the configuration that is shipped, has its place in them.
#
#   tests/man.sh BINARY
set -euo pipefail
binary=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bad=0
want() { # want PAGE WORD
    # Bold or plain, with the hyphens that roff wants escaped. Without -q: a grep
    # that ends early would break the pipe, and that would count as "not found".
    if ! sed 's/\\-/-/g; s/"//g' "$1" | grep -E "(^|[^a-z-])$2([^a-z-]|\$)" >/dev/null; then
        echo "$1 says nothing of: $2"
        bad=1
    fi
}
commands() { "$binary" "$@" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'; }
options() { "$binary" "$@" --help | sed -n '/^Options:/,/^$/p' | grep -oE -- '--[a-z][a-z-]*'; }
seen=0
walk() {
    local name
    while read -r name; do want man/wslmesh.8 "$name"; done < <(options "$@")
    while read -r name; do
        [ "$name" != help ] || continue
        seen=$((seen + 1))
        want man/wslmesh.8 "${*:+$* }$name"
        walk "$@" "$name"
    done < <(commands "$@")
}
walk
[ "$seen" -ge 6 ] || { echo "only $seen commands were found in --help"; bad=1; }
while read -r key; do want man/wslmesh.toml.5 "$key"; done \
    < <(sed -n 's/^#\([a-z][a-z-]*\) =.*/\1/p; s/^#\{0,1\}\[\[\{0,1\}\([a-z]*\)\].*/\1/p' packaging/wslmesh.toml | sort -u)
for page in man/*; do
    said=$(groff -man -Tutf8 -ww -z "$page" 2>&1 || true)
    [ -z "$said" ] || { echo "$said"; bad=1; }
done
exit "$bad"
