# SPDX-License-Identifier: MIT
"""Outer sources from a prefix, end to end: XDP on the real unwraps what comes from it."""

import re
import time
from ipaddress import IPv4Address, IPv4Network

import pytest
from fivehosts import RS1

from xdplb.lab import VIP

pytestmark = pytest.mark.root

SERVICE = ("-t", f"{VIP}:80")
PREFIX = "10.9.0.0/24"
PAGES = 20


@pytest.fixture
def unwrapping(director):
    """The reference case with rs1 only, which takes tunnels from the prefix and nobody else."""
    arguments = ("--vip", VIP, "--decap", "xdp", "--director", PREFIX)
    director.xdplb("realserver", "setup", *arguments, host="rs1")
    director.balance(reals=[RS1])
    yield director
    director.xdplb("realserver", "teardown", host="rs1")
    director.xdplb("realserver", "setup", "--vip", VIP, host="rs1")


def heard(lab, pages):
    """Fetch so many pages. Returns: the outer sources of the tunnelled packets meanwhile."""
    # What the kernel has not handed over yet when tcpdump ends is lost: it shall hand over at once.
    options = ["--immediate-mode", "-Z", "root", "-lnni", "lvs"]
    tcpdump = lab.start("net2", ["tcpdump", *options, "ip proto 4"])
    while "listening" not in tcpdump.stdout.readline():
        assert tcpdump.poll() is None
    assert ["rs1"] * pages == lab.fetch(pages)
    time.sleep(1)
    tcpdump.terminate()
    lines = tcpdump.communicate()[0]
    return re.findall(r"IP ([\d.]+) > [\d.]+: IP", lines)


def test_flows_have_sources_of_the_prefix(unwrapping):
    """Each page comes by another source, all of them are taken, and the flow keeps to its own."""
    unwrapping.xdplb("service", "edit", *SERVICE, "--source-cidr", PREFIX)

    sources = heard(unwrapping, PAGES)

    assert len(sources) >= 3 * PAGES  # SYN, request, and the rest
    assert all(IPv4Address(source) in IPv4Network(PREFIX) for source in sources)
    assert PAGES / 2 < len(set(sources)) <= PAGES


def test_a_download_survives_the_change(unwrapping):
    """Connections live on while the prefix comes and goes: from the DIP both are accepted."""
    setup = ("realserver", "setup", "--vip", VIP, "--director", "192.168.2.200")
    unwrapping.xdplb(*setup, host="rs1")
    argv = ["curl", "-sS", "--limit-rate", "4M", "-m", "60", f"http://{VIP}/large"]
    download = unwrapping.start("client", argv)

    for cidr in (PREFIX, "10.9.0.128/25", "", PREFIX):
        unwrapping.xdplb("service", "edit", *SERVICE, "--source-cidr", cidr)
        assert ["rs1"] == unwrapping.fetch()

    assert 10 << 20 == len(download.communicate(timeout=60)[0])


def test_who_is_not_told_of_the_prefix_refuses_it(unwrapping):
    """Beyond what the real was told: its unwrapper passes the packets by, and nobody answers."""
    unwrapping.xdplb("service", "edit", *SERVICE, "--source-cidr", "10.77.0.0/16")

    curl = ["curl", "-sS", "-m", "1", f"http://{VIP}/"]

    assert unwrapping.run("client", *curl, check=False).returncode != 0


def test_prefix_is_listed_and_saved(unwrapping):
    """Set on a live service, shown, saved, and taken away by ''."""
    plain = unwrapping.xdplb("save")

    unwrapping.xdplb("service", "edit", *SERVICE, "--source-cidr", PREFIX)

    (listed,) = unwrapping.json("list")
    assert listed["source_cidr"] == PREFIX
    assert f"rr source_cidr {PREFIX}" in unwrapping.xdplb("list")
    saved = unwrapping.xdplb("save")
    assert plain.replace("reals =", f'source_cidr = "{PREFIX}"\nreals =') == saved
    unwrapping.xdplb("service", "edit", *SERVICE, "--source-cidr", "")
    assert plain == unwrapping.xdplb("save")
    said = unwrapping.apply(saved)
    assert f"~ service tcp/{VIP}:80 source_cidr none → {PREFIX}\n" == said
