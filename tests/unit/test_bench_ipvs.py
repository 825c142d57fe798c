# SPDX-License-Identifier: MIT
"""What bench/ipvs*.py say to both directors is the same; plots are drawn of what is there."""

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def bench_on_the_path(monkeypatch):
    """Let the bench's scripts import each other, as they do when they run."""
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])


def test_both_directors_have_the_same_services():
    """Both get the same services, addresses, schedulers and reals, with tunnels."""
    from ipvs_rig import TCP, Service

    from xdplb.model import toml_file

    service = Service(9, "mh", TCP, 3)
    (parsed,) = toml_file.parse(service.toml(), "it").services.values()
    add, *servers = service.ipvsadm().splitlines()

    assert f"-A -t {parsed.key.vip}:{parsed.key.port} -s {parsed.scheduler}" == add
    assert [
        f"-a -t {parsed.key.vip}:{parsed.key.port} -r {real.address}:{parsed.key.port} -i"
        for real in parsed.reals
    ] == servers


@pytest.mark.parametrize("protocol", [6, 17])
def test_frames_are_what_scapy_would_send(protocol):
    """60 bytes, with right lengths and IP checksum."""
    from ipvs_rig import Service
    from scapy.layers.inet import IP

    frame = Service(3, "rr", protocol, 2).frame()
    dissected = IP(frame[14:])
    del dissected.chksum

    assert 60 == len(frame)
    assert protocol == dissected.proto
    assert 83 == dissected.dport
    assert frame[14:34] == bytes(dissected)[:20]


def test_the_floor_s_header_has_a_right_checksum():
    """`prepend` writes the header that a director would."""
    from frames import floor_flags, prepended
    from scapy.layers.inet import IP

    outer = IP(src="192.168.2.200", dst="10.1.0.1", ttl=63, flags="DF", id=0, proto=4, len=66)
    check = int.from_bytes(bytes(outer)[10:12], "big")

    assert bytes(outer) == prepended(46)[14:]
    assert ["-DOUTER_LENGTH=66", f"-DOUTER_CHECK={check}"] == floor_flags(46)


def test_instructions_are_counted_on_one_core():
    """The guest of `cost` has one core and a clock of instructions, and copies no single bytes."""
    import guest
    import ipvs

    about = ipvs.PARTS["cost"]
    script = Path("/tree/bench/ipvs_cost.py")
    words = guest.command(script, [], about.cores, about.accelerator)

    assert ["--smp", "1"] == words[1:3]
    assert "-icount shift=0,sleep=off" in " ".join(words)
    assert "-erms,-fsrm" in " ".join(words)
    assert "/tree/bench/ipvs_cost.py" == words[-1]


def test_cases_are_named_as_the_issue_names_them():
    """A name has scheduler, protocol and flows, then what is unusual."""
    from ipvs_cost import SERVICES, UDP, Case, cases

    names = [case.name for case in cases()]

    assert {"rr-udp-1", "rr-udp-64k", "rr-udp-new", "mh-udp-1", "mh-udp-64k", "rr-tcp-1"} <= {
        *names
    }
    assert len(names) == len(set(names))
    assert "rr-udp-1-512s" == Case(SERVICES["rr", UDP, 2], 1, 512).name


def test_plots_are_drawn_of_the_parts_that_are_there(monkeypatch, tmp_path):
    """Each plot is PNG and SVG. Parts that were not measured are left out."""
    import ipvs_plot
    import rig

    monkeypatch.setattr(rig, "RESULTS", tmp_path)
    machine = {"cpu": "c", "cores": 2, "kernel": "k", "date": "2026-01-01", "commit": "0"}
    rows = [{"case": "a", "ipvs_kpps": [1.0, 2.0], "xdplb_kpps": [5.0, 6.0]}]

    drawn = list(ipvs_plot.plot({"machines": {"throughput": machine}, "throughput": rows}))

    assert [tmp_path / "ipvs_throughput.png"] == drawn
    assert {"ipvs_throughput.png", "ipvs_throughput.svg"} == {p.name for p in tmp_path.iterdir()}
