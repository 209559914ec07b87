# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# The clock is set to Windows' where that is configured, nothing else sets it, and the unit
# may. The PTP device is the tests' own (ptp/hvptp.c), with the name of Hyper-V's.
within 20 is_active
ok 'the kernel has the device' insmod /usr/local/lib/hvptp.ko
[ -e /dev/ptp0 ] || exit 1
drop_in watchdog <<'T'
[Service]
WatchdogSec=5s
T
configure() {
    printf '[clock]\n%s\n' "$1" >/etc/wslmesh/wslmesh.toml
    guest systemctl reload $unit
}
# The clock changes its distance to the time since the boot only where it is set.
since_boot() { echo $(($(date +%s) - $(cut -d . -f 1 /proc/uptime))); }
right=$(since_boot)
off_by() {
    local off=$(($(since_boot) - right - $1))
    [ "${off#-}" -le 2 ]
}
turn_clock() { date -s "$1" >/dev/null; }
wrong() { guest wslmesh status --json | tr -d '\n' | grep -F clock-wrong | grep -F -- "$1"; }
doctor() { guest wslmesh doctor clock --all | tr -s '[:space:]' ' '; }

guest systemctl restart $unit
ok 'it is up' within 20 is_active
has 'doctor reads the device' "$(doctor)" "Windows' clock"

turn_clock '-1 hour'
ok 'a clock that is wrong is named' within 60 wrong 'step-above is'
ok 'and not set, as that is not configured' off_by -3600
has 'doctor says by how much' "$(doctor)" "3[56][0-9]{2} s behind Windows' clock"
configure 'step-above = "5s"'
ok 'the unit alone may not, and it says what it needs' within 60 wrong clock.service.conf
ok 'so it is not set' off_by -3600

# As docs/clock.md has it, with a time service beside it.
cp /usr/share/doc/wslmesh/examples/clock.service.conf /etc/systemd/system/$unit.d/
printf '[Service]\nExecStart=sleep infinity\n' >/etc/systemd/system/chrony.service
guest systemctl daemon-reload
guest systemctl start chrony
guest systemctl restart $unit
within 20 is_active
ok 'a time service is in the way' within 60 wrong chrony.service
ok 'and the clock is its own' off_by -3600
guest systemctl stop chrony
guest systemctl reload $unit
ok 'without it the clock is set' within 60 off_by 0
ok 'the journal says by how much' within 10 journal_has 'set the clock forward by (59|60) min'
ok 'nothing is wrong any more' within 10 not wrong ''

ip link add wg0 type wireguard
ip link set wg0 up
turn_clock '+1 hour'
ok 'back it is not set without a key of its own' within 60 wrong 'step-back is off'
ok 'and it says what WireGuard does then' wrong 'peers of WireGuard refuse handshakes'
ok 'so it is an hour ahead' off_by 3600
configure 'step-above = "5s"
step-back = true'
ok 'with that key it is set back' within 60 off_by 0
ok 'the journal warns of the handshakes' within 10 journal_has 'set the clock back by (59|60) min .*peers of WireGuard refuse'
ok 'the history has it' within 10 grep -F '"step"' /run/wslmesh/clock.json
has 'doctor shows it' "$(doctor)" 'set by the agent, set back by'

why() { guest wslmesh doctor clock --json; }
echo 5 >/sys/module/hvptp/parameters/broken
has 'a device that fails is no error' "$(why)" '/dev/ptp0 cannot be read: Input/output error'
echo 116 >/sys/module/hvptp/parameters/broken
has 'one without time from Windows neither' "$(why)" '/dev/ptp0 has had no time from Windows for ten minutes'
