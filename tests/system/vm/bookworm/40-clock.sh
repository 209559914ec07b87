# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# The wall clock jumps, and the machine is suspended: what Windows' sleep does.
within 20 is_active
# The agent gets no event of a changed sysctl, so only a pass puts it back.
passes_after() {
    guest sysctl -qw net.core.rmem_max=300000
    "$@" || return
    within 20 sysctl_is net.core.rmem_max 134217728
}
turn_clock() { date -s "$1" >/dev/null; }
machine_sleeps() {
    machine stop 6 && turn_clock '+6 sec'
}
drop_in watchdog <<'T'
[Service]
WatchdogSec=5s
T
guest systemctl restart $unit
ok 'it is up with a short watchdog' within 20 is_active
pid=$(main_pid)
within 20 sysctl_is net.core.rmem_max 134217728
guest sysctl -qw net.core.rmem_max=300000
sleep 2
is 'without a reason there is no pass' "$(sysctl_of net.core.rmem_max)" 300000
lines=$(lines_of_journal)
ok 'a day forward: a pass' passes_after turn_clock '+1 day'
ok 'a day back: a pass' passes_after turn_clock '-1 day'
ok 'another day back: a pass' passes_after turn_clock '-1 day'
ok 'the machine slept and its clock is set: a pass' passes_after machine_sleeps
sleep 6
is 'the watchdog has not tripped' "$(main_pid) $(property NRestarts)" "$pid 0"
grown=$(($(lines_of_journal) - lines))
echo "# $grown lines in the journal for four steps of the clock"
ok 'no flood in the journal' [ "$grown" -le 12 ]
usage() { property CPUUsageNSec; }
before=$(usage)
sleep 3
spent=$((($(usage) - before) / 1000000))
echo "# idle for 3 s after that: $spent ms of CPU"
ok 'it does not spin' [ "$spent" -lt 300 ]
set_address 172.28.27.77
ok 'it still follows an address change' within 20 network_file_has 'WSL_IP="172.28.27.77"'
# A problem that a timer checks again: a file that is no file.
set_address 172.28.27.78
within 20 network_file_has 'WSL_IP="172.28.27.78"'
rm $network_file
mkdir $network_file
set_address 172.28.27.79
ok 'a problem is named' within 20 journal_has 'network-file-un'
turn_clock '-1 day'
rmdir $network_file
ok 'its next try comes in spite of the clock' within 30 network_file_has 'WSL_IP="172.28.27.79"'
