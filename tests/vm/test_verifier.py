# SPDX-License-Identifier: MIT
"""How far each program is from what the verifier follows: 1,000,000 instructions.

The figure depends on the kernel, the compiler and the tables' sizes, and a small change of the text
may double it. `make test-vm` asks Debian's own kernel, `make test-kernels` that of the backports.
"""

import platform
import shutil
from pathlib import Path

import pytest
from fivehosts import require_root
from xdplb.dataplane import clock, libbpf, source
from xdplb.dataplane.loader import compile_director

from xdplb.model import Tunables

pytestmark = pytest.mark.root

MOST = 400_000
PINS = Path("/sys/fs/bpf/xdplb-test-verifier")


@pytest.fixture
def pins():
    """Where the tables are pinned."""
    require_root()
    PINS.mkdir()
    yield PINS
    shutil.rmtree(PINS)


@pytest.mark.parametrize("cpus", [1, 2])
def test_verifier_has_room(monkeypatch, pins, cpus):
    """Each program loads, and the verifier follows less than half of what it would."""
    monkeypatch.setattr(libbpf, "possible_cpus", lambda: cpus)
    flags = source.defines(Tunables(), pins, clock.measure())

    program = compile_director(flags, frags=True)

    fds = {"xdplb": program.fd}
    fds |= {name: program.kinds[kind] for kind, name in source.kinds().items()}
    verified = {name: libbpf.prog_info(fd).verified_insns for name, fd in fds.items()}
    print(f"\n{platform.release()}, {cpus} CPUs: {verified}")
    assert {} == {name: insns for name, insns in verified.items() if insns > MOST}
    assert all(verified.values())
