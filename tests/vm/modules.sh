#!/bin/bash
# Unpacks modules of a kernel, and all that they depend on, for insmod.
#
#   tests/vm/modules.sh KERNEL_TREE OUT MODULE...
#
# OUT/order has their names in the order in which they must be loaded: what one
# depends on follows the colon in modules.dep, the deepest last.
set -euo pipefail
tree=$1 out=$2
shift 2
version=$(cat "$tree/version")
dep=$tree/lib/modules/$version/modules.dep
mkdir -p "$out"
: >>"$out/order"
for module in "$@"; do
    line=$(grep -E "/$module\.ko(\.[a-z]+)?:" "$dep") || {
        # Built into the kernel: nothing to load.
        grep -qE "/$module\.ko" "$tree/lib/modules/$version/modules.builtin" && continue
        echo "modules.sh: Linux $version has no module $module" >&2
        exit 1
    }
    for file in $(echo "${line#*:}" | tr ' ' '\n' | tac) "${line%%:*}"; do
        name=$(basename "$file")
        name=${name%%.ko*}.ko
        [ ! -e "$out/$name" ] || continue
        case $file in
            *.xz) xz -dc "$tree/lib/modules/$version/$file" >"$out/$name" ;;
            *.zst) zstd -dcq "$tree/lib/modules/$version/$file" >"$out/$name" ;;
            *.gz) gzip -dc "$tree/lib/modules/$version/$file" >"$out/$name" ;;
            *) cp "$tree/lib/modules/$version/$file" "$out/$name" ;;
        esac
        echo "$name" >>"$out/order"
    done
done
