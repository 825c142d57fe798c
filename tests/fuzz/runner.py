# SPDX-License-Identifier: MIT
"""BPF_PROG_TEST_RUN in a few microseconds per frame: buffers are kept, counters read in memory."""

import ctypes

from xdplb.kernel import libbpf

LINEAR = 3520  # bytes of a frame in its first buffer: a page without head- and tailroom
LARGEST = 9100
ROOM = 1 << 14


class Runner:
    """One program."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._frame = ctypes.create_string_buffer(ROOM)
        self._sent = ctypes.create_string_buffer(ROOM)
        self._in, self._out = memoryview(self._frame).cast("B"), memoryview(self._sent).cast("B")
        self._context = libbpf._XdpMd()
        self._options = libbpf._TestRunOpts(
            sz=ctypes.sizeof(libbpf._TestRunOpts),
            data_in=ctypes.addressof(self._frame),
            data_out=ctypes.addressof(self._sent),
            ctx_in=ctypes.addressof(self._context),
            ctx_size_in=ctypes.sizeof(self._context),
            repeat=1,
        )
        self._run = libbpf._lib().bpf_prog_test_run_opts
        self._pointer = ctypes.byref(self._options)

    def run(self, frame: bytes, ifindex: int) -> tuple[int, bytes]:
        """Run the program on a frame. Returns: action and frame."""
        length = len(frame)
        self._in[:length] = frame
        self._context.data_end = length
        self._context.ingress_ifindex = ifindex
        options = self._options
        options.data_size_in = length
        options.data_size_out = ROOM
        error = self._run(self.fd, self._pointer)
        if error:
            raise OSError(-error, f"a frame of {length} bytes does not run")
        return options.retval, bytes(self._out[: options.data_size_out])
