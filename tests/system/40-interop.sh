# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# suites: bookworm trixie
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# Windows programs under the hardened unit: started by /init, on drives that belong to
# the default user. /init is a stand-in that needs what WSL's own needs (getcwd,
# mountinfo, AF_UNIX, AF_VSOCK), reads the program as far as this process may, and
# notes how it was started.
cat >"$run/init" <<'T'
#!/usr/bin/perl
use strict;
use Socket;
sub failed { print STDERR "<3>WSL ($$ - ) ERROR: $_[0] failed ", $! + 0, "\n"; exit 1 }
sub server {
    socket(my $to, AF_UNIX, SOCK_STREAM, 0) or failed('UtilConnectUnix:534: socket');
    connect($to, sockaddr_un($_[0])) or failed('UtilConnectUnix:543: connect');
    return $to;
}
if ($0 =~ m{/wslinfo$}) { server('/run/WSL/1_interop'); print 'nat'; exit 0 }
if ($0 =~ m{/wslpath$}) {
    server($ENV{WSL_INTEROP});
    (my $path = $ARGV[1]) =~ tr{/}{\\};
    print "\\\\wsl.localhost\\Guest$path\n";
    exit 0;
}
my ($program, @arguments) = @ARGV;
my $folder = readlink '/proc/self/cwd' or exit 1;
# Silently, like the real one.
stat $folder && stat $program or exit 1;
open my $mounts, '<', '/proc/self/mountinfo' or failed('mountinfo: open');
my ($drive) = grep { index("$program/", "$_/") == 0 && $_ ne '/' } map { (split)[4] } <$mounts>;
$drive or exit 1;
socket(my $back, 40, SOCK_STREAM, 0) or failed('UtilListenVsockAnyPort:317: socket');
bind($back, pack('SSLLx4', 40, 0, 0xffffffff, 0xffffffff)) or failed('UtilListenVsockAnyPort:330: bind');
listen($back, 4) or failed('UtilListenVsockAnyPort:1633: listen');
server($ENV{WSL_INTEROP});
my $input = do { local $/; <STDIN> };
open my $status, '<', '/proc/self/status';
open my $call, '>', '/run/wslmesh/call.new' or failed('call: open');
print $call "$program @arguments\nWSL_INTEROP=$ENV{WSL_INTEROP}\nfolder: $folder\n";
print $call grep { /^(NoNewPrivs|Seccomp|CapEff):/ } <$status>;
print $call 'system: ', (open(my $probe, '>', '/usr/probe') ? 'writable' : 'read-only'), "\n";
# What is in the file itself runs only if something executes it.
print $call 'exec: ', (system({ $program } $program) == -1 ? $! + 0 : 'ran'), "\n";
print $call $input;
close $call;
rename '/run/wslmesh/call.new', '/run/wslmesh/call';
print '{"version":1,"state":"not-elevated","elevated":false,"rules":[],"added":0,"removed":0,"kept":0,',
    '"conflicts":[],"taken":[],"refused":[],"local-app-data":"C:\\\\Users\\\\ann\\\\AppData\\\\Local"}', "\n";
T
chmod 755 "$run/init"
# WSL's own systemd has no filter above it.
boot "--bind=$run/init:/init:idmap" \
    '--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self' || exit 1
guest perl -MSocket -e 'socket(my $s, 40, SOCK_STREAM, 0) or exit 1' \
    || { pass 'not tried: this kernel has no AF_VSOCK'; exit 0; }
system=Windows/System32/WindowsPowerShell/v1.0
# drive FOLDER: a Windows drive as WSL mounts it, its files the default user's. In place
# of powershell.exe is a Linux program, as Windows' user could put there.
drive() {
    guest mkdir -p "$1"
    guest mount -t tmpfs -o mode=0755,uid=1000,gid=1000 drive "$1"
    guest mkdir -p "$1/$system" "$1/Users/ann/AppData/Local"
    guest cp /bin/true "$1/$system/powershell.exe"
    modes "$1" 0777 0777
}
# modes DRIVE FOLDERS FILES: what the masks of the mount leave.
modes() {
    guest chown -R 1000:1000 "$1"
    guest find "$1" -type f -exec chmod "$3" {} +
    guest find "$1" -type d -exec chmod "$2" {} +
}
drive /mnt/c
guest mkdir -p /run/WSL
guest ln -s /init /usr/bin/wslinfo
guest ln -s /init /usr/bin/wslpath
guest systemd-socket-activate -l /run/WSL/1_interop /bin/sleep infinity >/dev/null 2>&1 &
within 10 guest test -S /run/WSL/1_interop
guest mkdir -p /etc/wslmesh/wslmesh.toml.d
guest sh -c 'printf "[[forward]]\nname = \"ssh\"\nprotocol = \"tcp\"\nlisten-port = 2222\nconnect-port = 22\n" >/etc/wslmesh/wslmesh.toml.d/ssh.toml'
guest mkdir -p /usr/lib/wsl/drivers
guest mount -t tmpfs drivers /usr/lib/wsl/drivers
guest cp /bin/true /usr/lib/wsl/drivers/probe
install_deb >/dev/null || exit 1
called() { guest grep -q connect-address /run/wslmesh/call; }
call_again() {
    guest systemctl stop $unit
    guest rm -f /run/wslmesh/call
    guest systemctl start $unit
    within 20 called
}
ok 'powershell.exe is called' within 20 called
call=$(guest cat /run/wslmesh/call)
[ -n "$call" ] || { journal; guest ls -l /run/WSL; }
program=/mnt/c/$system/powershell.exe
has 'with the program, its name and the command' "$call" "^$program powershell.exe .*-Command \\\$size = [0-9]+; "
has 'with the interop socket' "$call" '^WSL_INTEROP=/run/WSL/1_interop$'
has 'in its folder on the drive' "$call" "^folder: ${program%/*}\$"
has 'without new privileges' "$call" 'NoNewPrivs:[[:blank:]]*1'
has 'with a filter of system calls' "$call" 'Seccomp:[[:blank:]]*2'
has 'with three capabilities at most' "$call" 'CapEff:[[:blank:]]*0000000000001404'
has 'on a system that cannot be written to' "$call" '^system: read-only$'
has 'with the script on standard input' "$call" '^function Invoke-Script \{'
has 'and JSON behind it' "$call" '"connect-address":"172\.28\.16\.5"'
# EACCES is 13.
has 'and the file itself does not run' "$call" '^exec: 13$'

# inside COMMAND...: a program in the mounts of the service, with all of root's rights.
inside() { guest nsenter -t "$(main_pid)" -m -- "$@"; }
refused() { [[ $(inside "$1" 2>&1) == *'ermission denied'* ]]; }
ok 'outside of the service it would run' guest $program
ok 'no right of root makes it run in the service' refused $program
for place in /etc/wslmesh /var/lib/wslmesh /run/wslmesh /tmp; do
    inside cp /bin/true "$place/probe"
    ok "nor does a file in $place" refused "$place/probe"
done
ok 'nor does one among the GPU drivers' refused /usr/lib/wsl/drivers/probe
inside rm -f /etc/wslmesh/probe /var/lib/wslmesh/probe
for place in / /usr /usr/bin /bin /lib /etc /var; do
    has "$place cannot be written to" "$(inside touch "$place/probe" 2>&1)" 'Read-only file system'
done
ok 'programs of the system run' inside /bin/sh -c 'perl -e 1'
ok 'the relay for Linux does' inside /bin/sh -c '/usr/lib/wslmesh/wslmesh-relay </dev/null'

# A drive that is mounted later, to which NoExecPaths= does not apply.
later() {
    guest umount /mnt/c
    drive /mnt/c
    guest rm -f /run/wslmesh/call
    guest systemctl reload $unit
    within 20 called
}
ok 'a drive mounted later: called by /init' later
ok 'no mount option keeps its files from running' inside $program
has 'and the file itself does not run' "$(guest cat /run/wslmesh/call)" '^exec: 13$'

# What the options of the mount leave to a root that is only another user. A UDP forward
# needs the relay, which is copied to the drive.
guest sh -c 'printf "[[forward]]\nname = \"node\"\nprotocol = \"udp\"\nlisten-port = 41641\n" >/etc/wslmesh/wslmesh.toml.d/node.toml'
copies() { guest find /mnt/c/Users -name 'wslmesh-relay-*.exe'; }
# denied TEXT: what the agent reports now.
denied() { grep -qE -- "drive-denied[^}]*$1" <<<"$(guest wslmesh status --json | tr -d '\n')"; }
masked() { # masked NAME FOLDERS FILES
    guest rm -rf /mnt/c/Users/ann/AppData/Local/wslmesh
    modes /mnt/c "$2" "$3"
    ok "$1: powershell.exe is called" call_again
    has "$1: in its folder" "$(guest cat /run/wslmesh/call)" "^folder: ${program%/*}\$"
}
masked 'fmask=111' 0777 0666
ok 'fmask=111: the relay is copied' within 20 eval '[ -n "$(copies)" ]'
masked 'umask=022' 0755 0755
ok 'umask=022: the relay cannot be, and the reason is told' \
    within 20 denied 'copy the relay.*Permission denied.*the drive belongs to the default user'
masked 'umask=077' 0700 0700
ok 'umask=077: the same' within 20 denied 'copy the relay.*Permission denied'
# Without the right to look, as with a drop-in of one's own.
drop_in blind <<'S'
[Service]
CapabilityBoundingSet=
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
S
guest systemctl restart $unit
ok 'umask=077 without the right to look: told' \
    within 20 denied 'root may not reach .*powershell.exe'
guest rm "/etc/systemd/system/$unit.d/blind.conf" /etc/wslmesh/wslmesh.toml.d/node.toml
guest systemctl daemon-reload

# Drives elsewhere, without and with the drop-in that makes them writable.
guest umount /mnt/c
guest sh -c 'printf "[automount]\nroot = /windir/\n" >/etc/wsl.conf'
drive /windir/c
program=/windir/c/$system/powershell.exe
ok 'drives elsewhere: called by /init' call_again
has 'and the file itself does not run' "$(guest cat /run/wslmesh/call)" '^exec: 13$'
guest sed 's/^#.*//' "/usr/share/doc/wslmesh/examples/automount-root.service.conf" | drop_in automount
ok 'with the drop-in: called by /init' call_again
has 'and the file itself does not run' "$(guest cat /run/wslmesh/call)" '^exec: 13$'
ok 'in the service, whatever the right' refused $program
ok 'but the drive is writable' inside touch /windir/c/Users/ann/AppData/Local/probe
