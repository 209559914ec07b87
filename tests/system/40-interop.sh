# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# A Windows program under the hardened unit: an MZ file that the kernel hands to
# /init, as in WSL. /init is a stand-in that notes how it was started.
cat >"$run/init" <<'T'
#!/bin/sh
case $0 in */wslinfo) printf nat; exit 0 ;; esac
case $1 in
    --networking-mode) printf nat; exit 0 ;;
    -w) printf '\\\\wsl.localhost\\Guest'; echo "$2" | tr / '\\'; exit 0 ;;
esac
{
    echo "$*"
    echo "WSL_INTEROP=$WSL_INTEROP"
    grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status
    # The drive must be writable for the relay's program, nothing else may be.
    touch /mnt/c/Users/probe && echo 'drive: writable'
    touch /usr/probe 2>/dev/null || echo 'system: read-only'
    cat
} >/mnt/c/Users/call 2>&1
exit 1
T
chmod 755 "$run/init"
boot "--bind=$run/init:/init:idmap" || exit 1
guest sh -c 'mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc' 2>/dev/null \
    || { pass 'not tried: this kernel has no binfmt_misc for user namespaces'; exit 0; }
program=/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe
guest mkdir -p "${program%/*}" /run/WSL /mnt/c/Users
guest sh -c "printf 'MZ' >$program; chmod 755 $program"
guest ln -s /init /usr/bin/wslinfo
guest ln -s /init /usr/bin/wslpath
guest sh -c 'printf ":WSLInterop:M::MZ::/init:PF" >/proc/sys/fs/binfmt_misc/register'
guest systemd-socket-activate -l /run/WSL/1_interop /bin/cat >/dev/null 2>&1 &
within 10 guest test -S /run/WSL/1_interop
guest mkdir -p /etc/wslmesh/wslmesh.toml.d
guest sh -c 'printf "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n" >/etc/wslmesh/wslmesh.toml.d/ssh.toml'
install_deb >/dev/null || exit 1
called() { guest grep -q connect-address /mnt/c/Users/call; }
ok 'powershell.exe is called through binfmt_misc' within 20 called
call=$(guest cat /mnt/c/Users/call)
[ -n "$call" ] || { journal; guest ls -l /run/WSL; }
has 'with the program and its script' "$call" "$program .*-File "
has 'with the interop socket' "$call" '^WSL_INTEROP=/run/WSL/1_interop$'
has 'without new privileges' "$call" 'NoNewPrivs:[[:blank:]]*1'
has 'with a filter of system calls' "$call" 'Seccomp:[[:blank:]]*2'
has 'with two capabilities at most' "$call" 'CapEff:[[:blank:]]*0000000000001400'
has 'on a drive that can be written to' "$call" '^drive: writable$'
has 'on a system that cannot' "$call" '^system: read-only$'
has 'with JSON on standard input' "$call" '"connect-address":"172\.28\.16\.5"'
