# SPDX-License-Identifier: MIT
"""QUIC, whose connections live in one real's memory: each stays with its real."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from dualstack import both_families

from xdplb import lab as labs

pytestmark = [pytest.mark.root, both_families]

QUIC = [sys.executable, str(Path(__file__).with_name("quic.py"))]
CONNECTIONS = 24  # so many that one real alone gets none but once in millions of runs
CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=vip"


@contextmanager
def running(lab, host, *argv) -> Iterator["subprocess.Popen[str]"]:
    """A server or some clients on a host, until the end."""
    command = labs.command(lab.name, host, [*QUIC, *argv])
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def ask(dual, family, tmp_path):
    """Starts clients. There is a server on each real, and no service yet."""
    certificate, key = str(tmp_path / "certificate.pem"), str(tmp_path / "key.pem")
    files = ["-out", certificate, "-keyout", key, "-addext", f"subjectAltName=IP:{family.vip}"]
    subprocess.run([*CERTIFICATE.split(), *files], check=True, capture_output=True)
    with ExitStack() as stack:
        for host in ("rs1", "rs2"):
            server = running(dual, host, "serve", family.vip, host, certificate, key)
            assert "ready\n" == stack.enter_context(server).stdout.readline()
        argv = "ask", family.vip, str(CONNECTIONS), certificate
        yield lambda: stack.enter_context(running(dual, "client", *argv))


def answers(clients) -> list[str]:
    """Who answers each connection now: all of its requests, whole."""
    clients.stdin.write("\n")
    clients.stdin.flush()
    said = json.loads(clients.stdout.readline())
    assert [1] * CONNECTIONS == [len(set(names)) for names in said]
    return [names[0] for names in said]


def test_a_connection_keeps_to_its_real(dual, family, ask):
    """Also when another real is added, which by `mh` half of them would go to."""
    flags = 'flags = ["mh-port"]'
    dual.balance("mh", [family.rs2], f'udp = "{family.at(443)}"', flags)
    old = ask()
    assert ["rs2"] * CONNECTIONS == answers(old)

    dual.xdplb("server", "add", "-u", family.at(443), "-r", family.rs1)
    new = ask()
    assert {"rs1", "rs2"} == set(answers(new))

    assert ["rs2"] * CONNECTIONS == answers(old)
    [service] = dual.json("list", "--stats")
    assert 2 * CONNECTIONS == sum(real["stats"]["flows"] for real in service["reals"])
