# SPDX-License-Identifier: MIT
"""Run `xdplb` and kill it before the effect of a given number, by ptrace.

    python killing.py CACHE

reads requests from standard input, one JSON value a line: {"argv": […], "before": N}. It answers
each with one line: see Outcome. An effect is a system call that changes files, pins, tables, links,
sysctls, or the network (of the command and of the `ip` that it starts), or a step of the table
writer: those store into mapped memory, which takes no system call. The command is a fork of this
process, which has imported xdplb already: that is ten times faster than a new interpreter, and the
calls are the same.
"""

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdplb.kernel import program_cache

MARK = "/step/"  # access() of such a path is a step of the table writer
STEPS = {
    "xdplb.kernel.service_tables": [
        "ServiceTables.add_vip",
        "ServiceTables.put_service",
        "ServiceTables.remove_vip",
        "ServiceTables.remove_service",
    ],
    "xdplb.director.table_writer": [
        "TableWriter.config",
        "TableWriter._put_real",
        "TableWriter._put_tunnel",
        "TableWriter.remove_real",
        "TableWriter.remove_service",
        "TableWriter.free_ids",
        "fill",
    ],
    "xdplb.kernel.tables": ["Tables.put_vlans"],
}

# System calls of x86-64 by number: arch/x86/entry/syscalls/syscall_64.tbl.
WRITE, SENDTO, SENDMSG, ACCESS, OPENAT, BPF = 1, 44, 46, 21, 257, 321
CHANGING = {
    76: "truncate",
    77: "ftruncate",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    86: "link",
    87: "unlink",
    88: "symlink",
    90: "chmod",
    91: "fchmod",
    258: "mkdirat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    266: "symlinkat",
    268: "fchmodat",
    316: "renameat2",
}
NAMES = {
    **CHANGING,
    WRITE: "write",
    SENDTO: "sendto",
    SENDMSG: "sendmsg",
    ACCESS: "step",
    OPENAT: "openat",
    BPF: "bpf",
}
# enum bpf_cmd in include/uapi/linux/bpf.h
BPF_CHANGING = {
    2: "map_update",
    3: "map_delete",
    6: "obj_pin",
    24: "lookup_and_delete_batch",
    26: "map_update_batch",
    27: "map_delete_batch",
    28: "link_create",
    29: "link_update",
    34: "link_detach",
}
WATCHED_WRITES = ("/proc/sys/", "/run/", "/var/", "/tmp/")

PTRACE_CONT, PTRACE_GETREGS, PTRACE_GETEVENTMSG, PTRACE_SEIZE = 7, 12, 0x4201, 0x4206
# TRACEFORK, TRACEVFORK, TRACECLONE, TRACESECCOMP, EXITKILL
PTRACE_OPTIONS = 0x2 | 0x4 | 0x8 | 0x80 | 0x100000
EVENT_SECCOMP, EVENT_STOP = 7, 128
WALL = 0x40000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET_ALLOW, RET_TRACE = 0x7FFF0000, 0x7FF00000
LOAD, EQUAL, ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06  # instructions of classic BPF
NR, ARGUMENTS = 0, 16  # offsets in struct seccomp_data

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


@dataclass(frozen=True)
class Outcome:
    """How a command ended. killed: before which effect, "" if it ended by itself."""

    code: int
    killed: str
    effects: int
    output: str
    errors: str


# ---- the filter: which calls stop for us ---------------------------------------------------------


def install_filter() -> None:
    """Have the calling process and its children stop before each call that may be an effect."""
    calls = [WRITE, SENDTO, SENDMSG, ACCESS, *CHANGING]
    # (code, jump if true, jump if false, operand); jumps are counted from the next instruction
    program = [(LOAD, 0, 0, NR)]
    program += [(EQUAL, 0, 3, OPENAT), (LOAD, 0, 0, ARGUMENTS + 2 * 8)]
    program += [(ANY_BIT, 0, 1, os.O_CREAT | os.O_TRUNC), (RETURN, 0, 0, RET_TRACE)]
    program += [(LOAD, 0, 0, NR)]
    commands = sorted(BPF_CHANGING)
    program += [(EQUAL, 0, 2 + 2 * len(commands), BPF), (LOAD, 0, 0, ARGUMENTS)]
    for command in commands:
        program += [(EQUAL, 0, 1, command), (RETURN, 0, 0, RET_TRACE)]
    program += [(RETURN, 0, 0, RET_ALLOW)]
    for call in calls:
        program += [(EQUAL, 0, 1, call), (RETURN, 0, 0, RET_TRACE)]
    program += [(RETURN, 0, 0, RET_ALLOW)]
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp filter")


# ---- the tracer ----------------------------------------------------------------------------------


def ptrace(request: int, pid: int, address: int = 0, data: Any = 0) -> None:
    """Raises: ProcessLookupError if the process is gone."""
    if libc.ptrace(request, pid, address, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


class Call:
    """A system call that is about to be made."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        registers = (ctypes.c_uint64 * 27)()  # struct user_regs_struct
        ptrace(PTRACE_GETREGS, pid, 0, ctypes.addressof(registers))
        self.number = registers[15]  # orig_rax
        self.arguments = [registers[i] for i in (14, 13, 12, 7, 9, 8)]  # rdi rsi rdx r10 r8 r9

    def memory(self, address: int, size: int) -> bytes:
        """What the process has there."""
        with Path(f"/proc/{self.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def text(self, address: int) -> str:
        """The string that is there."""
        found = b""
        while b"\0" not in found and len(found) < 4096:  # a page at most, never over its end
            found += self.memory(address + len(found), 64 - (address + len(found)) % 64)
        return found.partition(b"\0")[0].decode(errors="replace")

    def file(self) -> str:
        """The path of the descriptor that is the first argument."""
        return str(Path(f"/proc/{self.pid}/fd/{self.arguments[0]}").readlink())

    def effect(self) -> str:
        """What it changes; "" if nothing."""
        name, arguments = NAMES[self.number], self.arguments
        if self.number == WRITE:
            path = self.file()
            return f"write {path}" if path.startswith(WATCHED_WRITES) else ""
        if self.number == ACCESS:
            path = self.text(arguments[0])
            return f"step {path.removeprefix(MARK)}" if path.startswith(MARK) else ""
        if self.number in (SENDTO, SENDMSG):
            return f"{name}" if self._changes_the_network() else ""
        if self.number == BPF:
            return f"bpf {BPF_CHANGING[arguments[0] & 0xFFFFFFFF]}"
        if name in ("ftruncate", "fchmod"):
            return f"{name} {self.file()}"
        path = self.text(arguments[1 if name.endswith(("at", "at2")) else 0])
        if path.startswith(("/dev/", "/proc/")):
            return ""
        return f"{name} {path}"

    def _changes_the_network(self) -> bool:
        """Whether it is anything but a question by netlink: nlmsg_type modulo 4 is 2 of those."""
        if Path(f"/proc/{self.pid}/exe").readlink().name != "ip":
            return True  # frames that we send ourselves
        start = self.arguments[1]
        if self.number == SENDMSG:
            iov = struct.unpack_from("Q", self.memory(start + 16, 8))[0]
            start = struct.unpack("Q", self.memory(iov, 8))[0]
        kind = struct.unpack_from("H", self.memory(start + 4, 2))[0]
        return bool(kind >= 16 and kind % 4 != 2)


def trace(leader: int, before: int) -> tuple[int, str, int]:
    """Let a process run, which we seized, and kill it and its children before an effect.

    Returns: its exit code, negative for a signal; the effect; how many effects there were.
    """
    alive, count, killed, code = {leader}, 0, "", 0
    while alive:
        pid, status = os.waitpid(-1, WALL)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            alive.discard(pid)
            if pid == leader:
                code = os.waitstatus_to_exitcode(status)
            continue
        alive.add(pid)
        event, passed_on = status >> 16, 0
        with suppress(ProcessLookupError):  # it was killed meanwhile
            if killed:
                os.kill(pid, signal.SIGKILL)  # a child that was just made
                continue
            if event == EVENT_SECCOMP:
                effect = Call(pid).effect()
                if effect and count == before:
                    killed = effect
                    for each in alive:
                        with suppress(ProcessLookupError):
                            os.kill(each, signal.SIGKILL)
                    continue
                count += bool(effect)
            elif event == 0:
                passed_on = os.WSTOPSIG(status)
            ptrace(PTRACE_CONT, pid, 0, passed_on)
    return code, killed, count


# ---- the command ---------------------------------------------------------------------------------


def mark_steps() -> None:
    """Make each step of the table writer a system call that the tracer sees."""

    def marked(step: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            os.access(f"{MARK}{name}", os.F_OK)
            return step(*args, **kwargs)

        return call

    for module_name, names in STEPS.items():
        module = importlib.import_module(module_name)
        for name in names:
            owner, _, attribute = name.rpartition(".")
            holder = getattr(module, owner) if owner else module
            setattr(holder, attribute, marked(getattr(holder, attribute), name))


def xdplb(argv: Sequence[str], output: int, errors: int) -> None:
    """Be the command; never returns."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        sys.stdin = os.fdopen(0, "r", closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        sys.argv = ["xdplb", *argv]
        from xdplb.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run(argv: Sequence[str], before: int) -> Outcome:
    """Run a command; killed before the effect of this number, if it is not negative."""
    output, errors = os.memfd_create("output"), os.memfd_create("errors")
    ready, go = os.pipe()
    pid = os.fork()
    if not pid:
        os.read(ready, 1)
        if before >= 0:
            install_filter()
            mark_steps()
        xdplb(argv, output, errors)
    if before >= 0:
        ptrace(PTRACE_SEIZE, pid, 0, PTRACE_OPTIONS)
    os.write(go, b".")
    code, killed, count = trace(pid, before)
    texts = []
    for fd in (output, errors):
        texts.append(os.pread(fd, 1 << 24, 0).decode(errors="replace"))
    for fd in (output, errors, ready, go):
        os.close(fd)
    return Outcome(code, killed, count, texts[0], texts[1])


def serve() -> None:
    """Answer requests until there are no more."""
    program_cache.DIRECTORY = Path(sys.argv[1])
    for package in ("cli", "director", "kernel", "host", "model"):
        path = importlib.import_module(f"xdplb.{package}").__path__
        for module in pkgutil.walk_packages(path, f"xdplb.{package}."):
            if module.name != "xdplb.kernel.compiler":
                importlib.import_module(module.name)
    importlib.import_module("numpy")
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(vars(run(request["argv"], request["before"]))), flush=True)


class Killer:
    """The server's client."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, *argv: str, before: int = -1) -> Outcome:
        """Run `xdplb`; killed before the effect of this number, if it is not negative."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"argv": argv, "before": before}) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextmanager
def started(inside: Sequence[str], cache: Path, scratch: Path) -> Iterator[Killer]:
    """Start the server. inside: what enters a namespace. cache: where compiled programs are kept.

    scratch: the commands' directory for temporary files.
    """
    process = subprocess.Popen(
        [*inside, sys.executable, __file__, str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch), "OPENBLAS_NUM_THREADS": "1"},
    )
    with process:
        assert process.stdin
        try:
            yield Killer(process)
        finally:
            process.stdin.close()


if __name__ == "__main__":
    serve()
