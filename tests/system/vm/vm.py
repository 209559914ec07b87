#!/usr/bin/env python3
"""A guest in QEMU: boot it once and save its state, or restore that and run a job in it.

  vm.py save FOLDER             boots, waits until its systemd is up, writes FOLDER/state
  vm.py run FOLDER JOB SECONDS  restores the state with JOB (a tar) as its third disk, prints
                                what the job prints and ends with its status; 124 at the deadline
  vm.py keep FOLDER JOB SECONDS the same, and where the job ends well FOLDER/state is from then
                                on the guest after it

FOLDER has vmlinuz, initrd, root.ext4 (Debian, read alone) and scratch.ext4 (what the guest
has written; a run's writes go to a file in TMPDIR that ends with it). JOB is of JOB_BYTES.

The accelerator is always TCG: a nested KVM may exist and yet not boot a stock kernel. cx16
is off because TCG in QEMU 7.2 corrupts the flags on a plain cmpxchg16b, on which newer
kernels fall over.
"""
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

JOB_BYTES = 64 << 20
BOOT_SECONDS = 180  # of a machine under load; about 10 are needed
APPEND = "console=ttyS0 quiet reboot=t panic=-1 mitigations=off audit=0 systemd.show_status=0"


class Failed(Exception):
    """The guest did something that no job may do, or nothing at all."""


class Machine:
    """A running QEMU, which ends with this process."""

    def __init__(self, folder, job, restore, throw_away):
        self.port, port = socket.socketpair()
        self.monitor, monitor = socket.socketpair()
        self.buffer = b""

        def file(path):
            return os.path.abspath(path).replace(",", ",,")

        scratch = "snapshot=on" if throw_away else "cache=unsafe"
        args = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]
        args += ["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,-cx16", "-smp", "2", "-m", "512"]
        args += ["-nodefaults", "-no-user-config", "-display", "none"]
        args += ["-kernel", f"{folder}/vmlinuz", "-initrd", f"{folder}/initrd", "-append", APPEND]
        args += ["-serial", f"file:{file(os.environ.get('CONSOLE', '/dev/null'))}"]
        args += ["-drive", f"file={file(folder + '/root.ext4')},format=raw,if=virtio,readonly=on"]
        args += ["-drive", f"file={file(folder + '/scratch.ext4')},format=raw,if=virtio,{scratch}"]
        args += ["-drive", f"file={file(job)},format=raw,if=virtio,readonly=on"]
        # Two cards on one wire that leads nowhere else; the second is Windows.
        for card in (0, 1):
            args += ["-netdev", f"hubport,id=wire{card},hubid=0"]
            args += ["-device", f"virtio-net-pci,netdev=wire{card},id=eth{card},mac=00:15:5d:00:00:0{card + 1},romfile="]
        args += ["-device", "virtio-serial-pci"]
        args += ["-chardev", f"socket,id=job,fd={port.fileno()}", "-device", "virtserialport,chardev=job,name=job"]
        args += ["-chardev", f"socket,id=monitor,fd={monitor.fileno()}", "-mon", "chardev=monitor,mode=control"]
        if restore:
            args += ["-incoming", f"exec:cat {shlex.quote(file(folder + '/state'))}"]
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, pass_fds=(port.fileno(), monitor.fileno()))
        port.close()
        monitor.close()
        self.answers = self.monitor.makefile("r")
        self.monitor.settimeout(60)
        self.answers.readline()  # QEMU's greeting
        self.ask("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def ask(self, command, **arguments):
        """One command of QEMU's machine protocol; events in between are not of interest."""
        arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        for line in self.answers:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Failed(f"{command}: {answer['error']['desc']}")
        raise Failed(f"QEMU has ended during {command}")

    def line(self, deadline):
        """The next line of the guest, without its end."""
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.port.settimeout(left)
            data = self.port.recv(65536)
            if not data:
                raise Failed("QEMU has ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def say(self, text):
        self.port.sendall(text.encode() + b"\n")

    def save(self, folder):
        """Writes memory and devices to a file; after that the guest is paused."""
        path = os.path.abspath(folder) + "/state"
        self.ask("migrate-set-parameters", max_bandwidth=1 << 40)
        self.ask("migrate", uri=f"exec:cat >{shlex.quote(path + '.new')}")
        status = ""
        while status != "completed":
            time.sleep(0.02)
            status = self.ask("query-migrate").get("status", "")
            if status in ("failed", "cancelled"):
                raise Failed("QEMU could not write the state")
        os.replace(path + ".new", path)


def save(folder):
    """Boots the guest and saves it where it waits for a job."""
    blank = f"{folder}/blank.tar"
    with open(blank, "wb") as file:
        file.truncate(JOB_BYTES)
    begun = time.monotonic()
    with Machine(folder, blank, restore=False, throw_away=False) as guest:
        line = guest.line(begun + BOOT_SECONDS)
        while not line.startswith("@ready"):
            print(line, file=sys.stderr)
            line = guest.line(begun + BOOT_SECONDS)
        print(f"# booted in {time.monotonic() - begun:.1f} s: {line}", file=sys.stderr)
        if line != "@ready running":
            raise Failed("a unit of the bare guest has failed")
        guest.save(folder)
    return 0


def run(folder, job, seconds, keep):
    """Restores the guest and serves its job until it ends."""
    deadline = time.monotonic() + seconds
    boots, may_boot = 1, False
    with Machine(folder, job, restore=True, throw_away=not keep) as guest:
        guest.say(f"{time.time():.3f} {boots}")
        while True:
            line = guest.line(deadline)
            word, _, rest = line.partition(" ")
            if word == "@exit":
                if keep and rest == "0":
                    guest.save(folder)
                return int(rest)
            if word == "@ready":
                if not may_boot:
                    raise Failed("the guest has booted by itself (a panic?)")
                boots, may_boot = boots + 1, False
                guest.say(f"{time.time():.3f} {boots}")
                continue
            if word == "@reboot":
                may_boot = True
            elif word == "@link":
                guest.ask("set_link", name="eth0", up=rest == "on")
            elif word == "@stop":
                guest.ask("stop")
                time.sleep(float(rest))
                guest.ask("cont")
            elif line:
                print(line, flush=True)
            if word.startswith("@"):
                guest.say("done")


def main():
    # So that QEMU is ended in order when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if sys.argv[1:2] == ["save"] and len(sys.argv) == 3:
            return save(sys.argv[2])
        if sys.argv[1:2] in (["run"], ["keep"]) and len(sys.argv) == 5:
            return run(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[1] == "keep")
    except TimeoutError:
        print("# the guest was not ready at the deadline")
        return 124
    except (Failed, OSError) as failed:
        print(f"# {failed}")
        return 125
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
