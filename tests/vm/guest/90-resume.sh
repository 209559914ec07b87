# shellcheck shell=dash
# Windows sleeps. The guest's clock is set, which no namespace can have of its own; the
# link goes and comes, the name server and the relay have ended. `sleeps=` on the kernel's
# command line is how often.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
lab_begin
WSLMESH_LAB_SLEEPS=$(sed -n 's/.*\bsleeps=\([0-9]*\).*/\1/p' /proc/cmdline)
export WSLMESH_LAB_SLEEPS
TRIAL_LIMIT=$((120 + WSLMESH_LAB_SLEEPS * 30))
ok "a node recovers by itself from $WSLMESH_LAB_SLEEPS nights" trial resume::kernel_sleeps
figures
ok 'a clock that is set back and forth by a second, an hour and ten years is no sleep' trial resume::kernel_clock_is_set
lab_end
