# SPDX-License-Identifier: MIT
"""What the README says to type works, in the order in which it is written."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from dualstack import VIP6

pytestmark = [pytest.mark.root, pytest.mark.slow]

README = Path(__file__).parents[2] / "README.md"
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"(client|route|lvs|rs1|rs2)# (.+)")


def sessions() -> list[tuple[str, str, str]]:
    """Read host, command and printed text of every prompt in the README's console blocks."""
    found: list[tuple[str, str, str]] = []
    for line in "".join(CONSOLE.findall(README.read_text())).splitlines():
        if match := PROMPT.fullmatch(line):
            found.append((match[1], match[2], ""))
        else:
            host, command, printed = found.pop()
            found.append((host, command, f"{printed}{line}\n"))
    return found


def test_the_readme_s_commands_work_in_their_order(lab, tmp_path, monkeypatch):
    """Each ends with 0. If the README shows what is printed, exactly this is printed.

    The IPv6 service is served too.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    lab.start_web()
    answers = []

    for host, command, printed in sessions():
        done = lab.run(host, *shlex.split(command), check=False)
        said = done.stderr.removeprefix("compiling xdplb.c, once\n")
        assert (0, "") == (done.returncode, said), f"{host}# {command}: {done.stdout}"
        if printed:
            assert printed == done.stdout, f"{host}# {command}"
            answers.append(done.stdout.strip())

    assert ["rs2", "rs1", "rs2", "rs1"] == answers
    assert {"rs1", "rs2"} == set(lab.fetch(2, f"http://[{VIP6}]/"))
