# SPDX-License-Identifier: MIT
"""How far each program is from what the verifier follows: 1,000,000 instructions.

The figure depends on the kernel, the compiler and the tables' sizes, and a small change of the text
may double it. `make test-vm` asks Debian's own kernel, `make test-kernels` that of the backports.
"""

import platform

import pytest
from fivehosts import require_root

from xdplb.kernel import clock, libbpf, loader, program_cache
from xdplb.model.tunables import Tunables

pytestmark = pytest.mark.root

MOST = 400_000


@pytest.mark.parametrize("cpus", [1, 2])
def test_verifier_has_room(monkeypatch, cpus):
    """Each program loads, and the verifier walks less than half of what it would."""
    require_root()
    monkeypatch.setattr(libbpf, "possible_cpus", lambda: cpus)
    compiled = program_cache.director(Tunables(), clock.running_clock())

    program = loader.load(compiled, frags=True)

    verified = {name: libbpf.prog_info(fd).verified_insns for name, fd in program.functions.items()}
    program.close()
    print(f"\n{platform.release()}, {cpus} CPUs: {verified}")
    assert {} == {name: insns for name, insns in verified.items() if insns > MOST}
    assert all(verified.values())
