# SPDX-License-Identifier: MIT
"""Output: standard output, which may fail, and one-line messages on standard error."""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from xdplb.errors import XdplbError


class OutputFailed(XdplbError):
    """Standard output cannot be written."""


class ReaderLeft(OutputFailed):
    """The reader of our output has closed it, as `head` does. This needs no message."""


class _Output:
    """Standard output. Its failures raise their own kind of error."""

    def __init__(self, stream: TextIO | None) -> None:
        self._is_closed = stream is None  # before we began
        self._stream = stream or io.StringIO()
        if isinstance(stream, io.TextIOWrapper):
            # A locale may lack our arrows. Of ASCII click makes UTF-8, on a stream of its own.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if is_ascii else None, errors="replace")

    def write(self, text: str) -> int:
        with _told():
            if self._is_closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return self._stream.write(text)

    def flush(self) -> None:
        with _told():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise ReaderLeft("the reader of standard output left") from error
        raise OutputFailed(
            f"standard output cannot be written: {error.strerror}",
            "give it a file or a pipe that takes it",
        ) from error


@contextlib.contextmanager
def checked_output() -> Iterator[None]:
    """At the end of the block, write all that it printed. Raises: OutputFailed, ReaderLeft."""
    stream = sys.stdout
    sys.stdout = cast(TextIO, _Output(stream))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OutputFailed:
        _forget(stream)
        raise
    finally:
        sys.stdout = stream


def _forget(stream: TextIO | None) -> None:
    """Drop unwritten output: otherwise the interpreter complains at its end, and exits with 120."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, cast(TextIO, stream).fileno())
        os.close(nowhere)


def open_standard_files() -> None:
    """Open descriptors 0, 1 and 2 if the caller closed them, so that no file of ours gets them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def print_error(message: str) -> None:
    """Print the message as one line on standard error."""
    if sys.stderr is not None:  # None: it was closed before we began
        with contextlib.suppress(OSError):
            print(f"xdplb: {escape(message)}", file=sys.stderr, flush=True)


def escape(text: str) -> str:
    """The text with its control characters escaped: a file's name may have a newline."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )
