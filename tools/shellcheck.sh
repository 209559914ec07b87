#!/bin/bash
# Examines every shell script of the project.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What the guests of the virtual machines run is busybox's sh.
small=(tests/vm/guest/init tests/vm/guest/*.sh tests/system/vm/guest/init)
mapfile -t all < <(
    find tools tests systemd packaging .ci -name '*.sh' ! -path 'tests/vm/guest/*' | LC_ALL=C sort
    printf '%s\n' packaging/deb/p* .ci/run tests/windows/double/{powershell,run-task,window}
)
shellcheck -x "${all[@]}"
shellcheck -x -s dash "${small[@]}"
