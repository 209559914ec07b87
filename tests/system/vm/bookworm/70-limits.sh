# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# What the service takes of the machine, and that it lives within narrow limits.
of_process() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(main_pid)/status"; }
cgroup=/sys/fs/cgroup/system.slice/$unit
ok 'it is up' within 20 is_active
echo "# RSS $(of_process VmRSS), peak $(of_process VmHWM), cgroup $(($(property MemoryCurrent) / 1024)) kB, tasks $(property TasksCurrent)"
ok 'less than 40 MB of RSS' [ "$(of_process VmRSS | cut -d ' ' -f 1)" -lt 40960 ]
drop_in limits <<'T'
[Service]
MemoryMax=32M
MemorySwapMax=0
TasksMax=16
T
guest systemctl restart $unit
ok 'it starts with 32 MB and 16 tasks' within 20 is_active
pid=$(main_pid)
is 'the kernel has the limits' "$(cat $cgroup/memory.max $cgroup/pids.max | tr '\n' ' ')" "$((32 << 20)) 16 "
for i in $(seq 100 120); do set_address "172.28.16.$i"; done
ok 'it follows twenty address changes' within 20 network_file_has 'WSL_IP="172.28.16.120"'
for i in $(seq 30); do ip link add "wg$i" type wireguard; done
ok 'and thirty tunnels' within 30 mtu_is wg30 1280
echo "# then: RSS $(of_process VmRSS), cgroup $(($(property MemoryCurrent) / 1024)) kB, tasks $(property TasksCurrent)"
is 'nothing was killed for memory' "$(sed -n 's/^oom_kill //p' $cgroup/memory.events)" 0
# With so few tasks some threads cannot be had, and what they were for is tried again.
echo "# threads that were refused: $(sed -n 's/^max //p' $cgroup/pids.events)"
is 'it is the same process' "$(main_pid)" "$pid"
