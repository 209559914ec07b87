# shellcheck shell=bash disable=SC2154
# A guest with systemd as PID 1: boot, look inside, act on it from outside, end.
#
# What it touches of this machine: a cgroup, a network namespace and processes
# of its own. root_of_guest, work and run are set by run.sh.

machine_pid='' # systemd-nspawn, in the network namespace that is Windows
leader=''      # the guest's PID 1

# An own cgroup: systemd-nspawn would else make its own in the machine's root.
cgroup_roots() {
    local root
    for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        if [ -e "$root/cgroup.procs" ]; then echo "$root"; fi
    done
}

enter_cgroup() {
    local root
    for root in $(cgroup_roots); do
        mkdir -p "$root/$cgroup"
        echo "$BASHPID" >"$root/$cgroup/cgroup.procs"
    done
}

remove_cgroup() {
    local root end=$((SECONDS + 10))
    for root in $(cgroup_roots); do
        while [ -d "$root/$cgroup" ] && [ "$SECONDS" -lt "$end" ]; do
            find "$root/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.02
        done
    done
}

# boot [NSPAWN_OPTION]...: starts the guest and waits until its systemd is up.
# eth0 is a wire to the namespace of `windows`, as WSL's is to Windows.
boot() {
    mkdir -p "$run/share"
    chmod 755 "$run" "$run/share"
    (
        enter_cgroup
        export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_CONTAINER_SERVICE="${container:-wsl}"
        exec unshare --net systemd-nspawn -q -D "$root_of_guest" --volatile=overlay --boot \
            "--private-users=$first_id:65536" --private-users-ownership=off \
            --register=no --keep-unit "--machine=$cgroup" --link-journal=no \
            --network-veth-extra=windows:eth0 "--bind=$run/share:/share:idmap" \
            "--bind-ro=$packages:/packages" "--bind=$tun:/dev/net/tun" "$@"
    ) </dev/null >"$run/console" 2>&1 &
    machine_pid=$!
    within 60 is_up || { echo "# systemd did not come up"; tail -n 20 "$run/console"; return 1; }
    # systemd-nspawn mounts a boot id of its own there (twice), which a service with
    # ProtectKernelTunables= does not see. WSL mounts nothing there.
    while guest umount /proc/sys/kernel/random/boot_id 2>/dev/null; do :; done
    # The layer's root belongs to an id that the guest has not, and systemd-tmpfiles
    # goes no further below such a one.
    nsenter -t "$leader" -m -- chown "$first_id:$first_id" /
    windows ip address add 172.28.16.1/20 dev windows
    windows ip link set windows up
    guest ip link set eth0 up
    set_address 172.28.16.5
}

children_of() { cat "/proc/$1/task/$1/children" 2>/dev/null; }
# systemd-nspawn's first child only prepares; the one after it is the guest's PID 1.
is_up() {
    leader=$(children_of "$machine_pid" | cut -d ' ' -f 1)
    [ -n "$leader" ] || return 1
    local state
    state=$(timeout -k 1 5 nsenter -t "$leader" -a -S 0 -G 0 -- systemctl is-system-running 2>/dev/null || true)
    [[ $state == running || $state == degraded ]]
}

# Ends the guest at once; its files were only a layer.
halt() {
    if [ -n "$machine_pid" ]; then
        if [ -n "$leader" ]; then kill -KILL "$leader" 2>/dev/null || true; fi
        # It ends with its guest; where it did not get that far, or hangs, it is ended.
        within 5 not kill -0 "$machine_pid" || kill -KILL "$machine_pid" 2>/dev/null || true
        wait "$machine_pid" 2>/dev/null || true
    fi
    machine_pid='' leader=''
    remove_cgroup
}

# guest COMMAND...: inside, as root, with its exit status.
guest() {
    nsenter -t "$leader" -a -S 0 -G 0 -- \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}
# as_user COMMAND...: inside, as a user without any right.
as_user() { guest setpriv --reuid=1000 --regid=1000 --clear-groups "$@"; }
# set_address ADDRESS: Windows gives the guest another one, from outside.
set_address() {
    local wire=(nsenter -t "$leader" -n -- ip)
    "${wire[@]}" address flush dev eth0 scope global
    "${wire[@]}" address add "$1/20" dev eth0
    "${wire[@]}" route replace default via 172.28.16.1
}
# windows COMMAND...: at the other end of eth0.
windows() { nsenter -t "$machine_pid" -n -- "$@"; }
