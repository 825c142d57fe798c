# SPDX-License-Identifier: MIT
"""Compiled programs, kept in files: who finds one needs neither bcc nor kernel headers.

    /var/cache/xdplb/<key>.json    the SHA-256 of key and program, a newline, the program
                     lock          held by who compiles
                     new           what is being written

The key is a hash of all that the instructions depend on: text, functions, flags, machine, and our
own modules that make the file. The kernel and its headers are not part of it: the programs include
uapi headers alone, whose structs and numbers never change, and BCC gave the same instructions on
Linux 6.1 and 6.18. The file names its compiler: where another one is installed, the file is stale;
where none is, it serves. A file that is not whole, or that somebody else could have written, is
made anew.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from xdplb.errors import XdplbError
from xdplb.kernel import compiled as compiled_form
from xdplb.kernel import compiler, program_text
from xdplb.kernel.clock import Clock, running_clock
from xdplb.kernel.compiled import Compiled
from xdplb.kernel.program_text import Source
from xdplb.model.tunables import Tunables

DIRECTORY = Path("/var/cache/xdplb")
KEPT = 32  # programs, the last used ones
_NOT_OURS = stat.S_IWGRP | stat.S_IWOTH


def director(tunables: Tunables, clock: Clock) -> Compiled:
    """The director. Raises: as compiled()."""
    return compiled(program_text.director(tunables, clock))


def unwrapper() -> Compiled:
    """The real server's unwrapper. Raises: as compiled()."""
    return compiled(program_text.unwrapper())


def compiled(source: Source) -> Compiled:
    """A program as it is kept, or compiled and kept from now on; by one process at a time.

    A directory that cannot be written is no failure, but a line in the log.
    Raises: MissingPart, NoPermission, XdplbError; if it has to be compiled, and cannot be.
    """
    key = _key(source)
    if (found := _read(key)) is not None:
        return found
    with ExitStack() as stack:
        try:
            stack.enter_context(_locked())
        except OSError as error:
            made = compiler.compile(source)
            _not_kept(error)
            return made
        if (found := _read(key)) is not None:
            return found
        made = compiler.compile(source)
        try:
            _write(key, made)
            _prune()
        except OSError as error:
            _not_kept(error)
        return made


def _key(source: Source) -> str:
    ours = [Path(str(module.__file__)).read_text() for module in (compiled_form, compiler)]
    parts = [*ours, os.uname().machine, source.text, source.functions, source.flags]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _path(key: str) -> Path:
    return DIRECTORY / f"{key}.json"


def _digest(key: str, text: bytes) -> bytes:
    return hashlib.sha256(key.encode() + text).hexdigest().encode()


def _is_ours(about: os.stat_result) -> bool:
    """Whether nobody else can have written it."""
    return about.st_uid == os.geteuid() and not about.st_mode & _NOT_OURS


def _read(key: str) -> Compiled | None:
    """The program of this key, if it is whole, ours, and of the compiler that is installed."""
    try:
        if not _is_ours(DIRECTORY.lstat()):
            return None
        fd = os.open(_path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not (stat.S_ISREG(about.st_mode) and _is_ours(about)):
            return None
        digest, _, text = file.read().partition(b"\n")
        if digest != _digest(key, text):
            return None
        with suppress(OSError):
            os.utime(fd)  # for _prune()
    found = Compiled.decode(text)
    return found if compiler.version() in (found.compiler, None) else None


def _write(key: str, made: Compiled) -> None:
    """Replaces the file whole, for root only."""
    new, text = DIRECTORY / "new", made.encode()
    new.unlink(missing_ok=True)  # of one that was killed: who writes has the lock
    try:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, 0o600)  # whatever the umask is
            file.write(_digest(key, text) + b"\n" + text)
            file.flush()
            os.fsync(fd)
        new.rename(_path(key))
    except OSError:
        new.unlink(missing_ok=True)
        raise


def _prune() -> None:
    files = sorted(DIRECTORY.glob("*.json"), key=lambda path: path.lstat().st_mtime_ns)
    for path in files[:-KEPT]:
        path.unlink()


@contextmanager
def _locked() -> Iterator[None]:
    """Waits for whoever compiles. Raises: OSError."""
    import fcntl

    _make_directory()
    lock = os.open(DIRECTORY / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log("waiting for another command, which compiles")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _make_directory() -> None:
    """One that is ours alone, in the place of anything else."""
    with suppress(FileNotFoundError):
        about = DIRECTORY.lstat()
        if stat.S_ISDIR(about.st_mode):
            if _is_ours(about):
                return
            import shutil

            shutil.rmtree(DIRECTORY)
        else:
            DIRECTORY.unlink()
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    DIRECTORY.chmod(0o700)  # whatever the umask is


def _not_kept(error: OSError) -> None:
    _log(f"{DIRECTORY} cannot be written ({error.strerror}): the next command compiles again")


def _log(text: str) -> None:
    import logging

    logging.getLogger(__name__).warning(text)


def main() -> None:
    """Fills the cache for the default sizes, as whoever makes a package does."""
    try:
        director(Tunables(), running_clock())
        unwrapper()
    except XdplbError as error:
        sys.exit(f"xdplb: {error}")


if __name__ == "__main__":
    main()
