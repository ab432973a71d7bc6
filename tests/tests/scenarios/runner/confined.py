"""What a module may not do, tried from inside its container: a line for each that was possible after all."""

import ctypes
import os
import socket
import sys

STORE = sys.argv[1]
# What the contract says, what every container has, and what the image itself sets.
ENVIRONMENT = ("SAS_SEED", "SAS_INPUT", "SAS_PARAMETERS", "SAS_OUTPUT", "PATH", "HOME", "HOSTNAME", "LANG", "LC_CTYPE", "PYTHON",
               "HDF5_", "OMP_", "OPENBLAS_")
NEW_USER = 0x10000000
X86 = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "bpf": 321, "ptrace": 101, "unshare": 272, "setns": 308,
    "keyctl": 250, "add_key": 248, "userfaultfd": 323, "perf_event_open": 298, "mount": 165, "umount2": 166, "pivot_root": 155,
    "chroot": 161, "fanotify_init": 300, "open_by_handle_at": 304, "name_to_handle_at": 303, "process_vm_readv": 310, "kcmp": 312,
    "init_module": 175, "finit_module": 313, "kexec_load": 246, "reboot": 169, "swapon": 167, "sethostname": 170, "settimeofday": 164,
    "clock_settime": 227, "adjtimex": 159, "syslog": 103, "acct": 163, "quotactl": 179, "iopl": 172, "ioperm": 173, "personality": 135,
    "move_mount": 429, "fsopen": 430, "pidfd_getfd": 438, "clone3": 435, "seccomp": 317, "lookup_dcookie": 212,
}
libc = ctypes.CDLL(None, use_errno=True)


def tries():
    for name, number in X86.items() if os.uname().machine == "x86_64" else ():
        yield name, lambda number=number: refused(libc.syscall(number, 0, 0, 0, 0, 0, 0))
    yield "a user namespace by clone", lambda: refused(libc.syscall(56, NEW_USER | 17, 0, 0, 0, 0))
    # Made, and never connected.
    for family in set(range(1, 46)) - {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
            yield f"a socket of family {family} and kind {kind}", lambda f=family, k=kind: socket.socket(f, k).close()
    yield "a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    yield "another host", lambda: socket.create_connection(("1.1.1.1", 53), 3).close()
    yield "a name of the network", lambda: socket.gethostbyname("example.org")
    for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"):
        yield f"the engine at {path}", lambda path=path: os.stat(path)
    yield "the store", lambda: os.listdir(STORE)
    yield "what is beside its input", lambda: [os.stat(f"/sas/in/../{name}") for name in set(os.listdir("/sas")) - {"in", "out"}][0]
    for path in ("/dev/mem", "/dev/kmem", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/kmsg"):
        yield f"the device {path}", lambda path=path: open(path, "rb").close()
    for path in ("/tmp/device", "/sas/out/device", "/dev/shm/device"):
        yield f"a new device {path}", lambda path=path: os.mknod(path, 0o60666, os.makedev(8, 0))
    for path in ("/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/memory.max",
                 "/etc/passwd", "/sas/in/parameters.json"):
        yield f"to write {path}", lambda path=path: open(path, "r+b").close()
    yield "to give a file away", lambda: (open("/tmp/own", "w").close(), os.chown("/tmp/own", 0, 0))
    yield "to be another user", lambda: os.setuid(0)
    yield "to run with an owner's rights from /tmp", owners_rights
    yield "rights", lambda: whether(any(int(line.split()[1], 16) for line in status() if line.startswith("Cap")))
    yield "new rights", lambda: whether("NoNewPrivs:\t1\n" not in status())
    yield "no filter", lambda: whether("Seccomp:\t2\n" not in status())
    yield "processes of others", lambda: whether(len([name for name in os.listdir("/proc") if name.isdigit()]) > 4)
    yield "secrets of the worker", lambda: whether([name for name in os.environ if not name.startswith(ENVIRONMENT)])
    yield "more shared memory than is said", shared_memory


def refused(answer):
    if answer == -1 and ctypes.get_errno() in (1, 38):
        raise PermissionError
    return answer


def whether(is_so):
    if not is_so:
        raise PermissionError


def status():
    with open("/proc/self/status") as file:
        return file.readlines()


def owners_rights():
    with open("/tmp/script", "w") as file:
        file.write("#!/bin/sh\nexit $(id -u)\n")
    os.chmod("/tmp/script", 0o4755)
    whether(os.waitstatus_to_exitcode(os.system("/tmp/script")) == 0)


def shared_memory():
    with open("/dev/shm/all", "wb") as file:
        file.write(b"\0" * ((64 << 20) + 1))


possible = []
for name, attempt in tries():
    try:
        attempt()
    except (OSError, IndexError):
        continue
    possible.append(name)
print("possible:", possible)
