# SPDX-License-Identifier: MIT
"""What `xdplb bench` writes, starts, reads and refuses; nothing is sent here."""

import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from click.testing import CliRunner

from xdplb.cli.main import cli
from xdplb.errors import MissingPart, NoPermission, NotFound, UsageError, XdplbError
from xdplb.traffic import nexthop, pktgen, wrk

VIP = IPv4Address("192.0.2.80")
PLAN = pktgen.Plan("ens33", VIP, 80, seconds=1, mac="02:00:00:00:00:01")
REPORT = """Params: count 0  min_pkt_size: 60  max_pkt_size: 60
Current:
     pkts-sofar: 2473015  errors: 7
     started: 46218064us  stopped: 47218390us idle: 112us
Result: OK: 1000326(c1000213+d112) usec, 2473015 (60byte,0frags)
  2472208pps 1186Mb/sec (1186659840bps) errors: 7
"""


def lines_of(plan: pktgen.Plan, file: str) -> list[str]:
    """The lines written to one file."""
    return [line for name, line in pktgen.script(plan) if name == file]


def test_a_queue_is_a_device_on_a_core_of_its_own():
    """Each thread has one device, whose packets leave by the queue of its number."""
    plan = replace(PLAN, queues=2)

    assert ["add_device ens33@0"] == lines_of(plan, "kpktgend_0")
    assert ["add_device ens33@1"] == lines_of(plan, "kpktgend_1")
    assert {"queue_map_min 1", "queue_map_max 1"} <= set(lines_of(plan, "ens33@1"))


def test_all_is_sent_to_the_one_destination():
    """With any plan, packets go only to its address, port and MAC."""
    plan = replace(PLAN, sources=(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9")), queues=3)

    to = {line for _, line in pktgen.script(plan) if "dst" in line}

    assert to == {
        "dst_mac 02:00:00:00:00:01",
        "dst_min 192.0.2.80",
        "dst_max 192.0.2.80",
        "udp_dst_min 80",
        "udp_dst_max 80",
    }


def test_sources_and_ports_are_drawn_at_random():
    """Each pair of a source address and a source port is then a flow."""
    plan = replace(PLAN, sources=(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9")), ports=(5, 6))

    lines = lines_of(plan, "ens33@0")

    assert {"src_min 10.0.0.1", "src_max 10.0.0.9", "flag IPSRC_RND"} <= set(lines)
    assert {"udp_src_min 5", "udp_src_max 6", "flag UDPSRC_RND"} <= set(lines)


def test_sizes_are_told_without_fcs():
    """64 bytes on the wire are 60 for pktgen, for each size of a mix too."""
    mixed = replace(PLAN, sizes=pktgen.IMIX)

    assert "pkt_size 60" in lines_of(PLAN, "ens33@0")
    assert "imix_weights 60,7 590,4 1494,1" in lines_of(mixed, "ens33@0")


def test_a_rate_is_shared_by_the_queues():
    """1,000 packets a second by 4 queues are 250 each. Without a rate there is no delay."""
    plan = replace(PLAN, queues=4, rate=1000)

    assert "ratep 250" in lines_of(plan, "ens33@3")
    assert "delay 0" in lines_of(PLAN, "ens33@0")


@pytest.mark.parametrize(
    "wrong",
    [
        {"destination": IPv4Address("224.0.0.1")},
        {"destination": IPv4Address("255.255.255.255")},
        {"destination": IPv4Address("127.0.0.1")},
        {"port": 0},
        {"sources": (IPv4Address("10.0.0.1"), IPv4Address("255.255.255.255"))},
        {"sources": (IPv4Address("126.0.0.1"), IPv4Address("128.0.0.1"))},
        {"sizes": ((63, 1),)},
        {"queues": 4, "rate": 3},
    ],
    ids=str,
)
def test_a_plan_that_is_no_service_s_is_refused(wrong):
    """Multicast, broadcast, this host, no port, and no valid frame are refused."""
    with pytest.raises(UsageError):
        replace(PLAN, **wrong)


def test_the_kernel_s_report_is_read():
    """It has packets, errors and seconds of a queue."""
    assert pktgen.Sent(2, 2473015, 7, 1.000326) == pktgen.parse_result(2, REPORT)


def test_a_report_of_a_failure_is_told():
    """If pktgen does not say OK, its text is the error's."""
    with pytest.raises(XdplbError, match="No such device"):
        pktgen.parse_result(0, "Result: ERROR: No such device\n")


def test_a_kernel_without_pktgen_is_told(monkeypatch, tmp_path):
    """The error says which kernel to boot."""
    monkeypatch.setattr(pktgen, "PROC", tmp_path / "pktgen")
    monkeypatch.setattr(pktgen.os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingPart, match="linux-image-amd64"):
        pktgen.require(PLAN)


def test_more_queues_than_the_interface_has_are_refused(monkeypatch, tmp_path):
    """More queues would share threads."""
    monkeypatch.setattr(pktgen, "PROC", tmp_path)
    monkeypatch.setattr(pktgen.os, "geteuid", lambda: 0)
    for core in range(2):
        (tmp_path / f"kpktgend_{core}").write_text("Running: \nStopped: \nResult: OK\n")

    with pytest.raises(UsageError, match="lo has 1 transmit queues"):
        pktgen.require(replace(PLAN, device="lo", queues=2))


def test_pktgen_in_use_is_left_alone(monkeypatch, tmp_path):
    """If pktgen has other devices, they would start and be removed with ours: refused."""
    monkeypatch.setattr(pktgen, "PROC", tmp_path)
    monkeypatch.setattr(pktgen.os, "geteuid", lambda: 0)
    (tmp_path / "kpktgend_0").write_text("Running: \nStopped: eth7@0 \nResult: OK\n")

    with pytest.raises(XdplbError, match="eth7@0"):
        pktgen.require(replace(PLAN, device="lo"))


def test_pktgen_is_root_s(monkeypatch):
    """Other users get one clear line."""
    monkeypatch.setattr(pktgen.os, "geteuid", lambda: 1000)

    with pytest.raises(NoPermission):
        pktgen.require(PLAN)


def test_a_host_does_not_send_to_itself():
    """A destination that is this host's own address is refused."""
    with pytest.raises(UsageError, match="own address"):
        nexthop.check("lo", IPv4Address("127.0.0.1"))


def test_what_is_no_mac_is_refused():
    """The message shows how to write a MAC."""
    with pytest.raises(UsageError, match="02:00:00:00:00:01"):
        nexthop.check_mac("02:00")


@pytest.mark.parametrize("mac", ["ff:ff:ff:ff:ff:ff", "01:00:5E:00:00:01", "00:00:00:00:00:00"])
def test_a_mac_of_many_or_of_nobody_is_refused(mac):
    """Frames go to one host."""
    with pytest.raises(UsageError, match="no single host"):
        nexthop.check_mac(mac)


def test_wrk_is_asked_for_short_connections():
    """A header asks for them, because wrk has no option."""
    kept, short = (wrk.command("http://a/", wrk.Load(64, 2, 10, short=s)) for s in (False, True))

    assert ["wrk", "-t2", "-c64", "-d10s"] == kept[:4]
    assert "Connection: close" in short
    assert "Connection: close" not in kept


@pytest.mark.parametrize(
    "url",
    [
        "192.0.2.80",
        "ftp://192.0.2.80/",
        "http:///index.html",
        "http://192.0.2.80:0/",
        "http://192.0.2.80:65536/",
        "http://[2001:db8::1/",
    ],
)
def test_what_is_no_url_of_http_is_refused(url):
    """It is refused before anything starts."""
    with pytest.raises(UsageError):
        wrk.check_url(url)


def test_a_missing_wrk_is_told(monkeypatch, tmp_path):
    """The error names the package."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingPart, match="apt-get install wrk"):
        wrk.run("http://192.0.2.80/", wrk.Load(1, 1, 1))


@pytest.mark.parametrize(
    "words",
    [
        "pktgen lo",
        "pktgen lo --to 192.0.2.80:80 --size big",
        "pktgen lo --to 192.0.2.80:80 --mac 02:00:00:00:00:01 --ports 9-1",
        "pktgen lo --to 192.0.2.80:80 --mac 02:00:00:00:00:01 --sources 10.0.0.9-10.0.0.1",
        "pktgen lo --to 192.0.2.80:0",
        "pktgen lo --to 192.0.2.80:80 --seconds nan",
        "pktgen lo --to 192.0.2.80:80 --seconds inf",
        "pktgen lo --to 192.0.2.80:80 --seconds 0",
        "pktgen lo --to 192.0.2.80:80 --rate 1000000001",
        "pktgen lo --to 192.0.2.80:80 --sources ",
        "pktgen lo --to 192.0.2.80:80 --plot plot.pdf",
        "pktgen lo --to 192.0.2.80:80 --plot plot",
        "pktgen lo --to [2001:db8::1]:80",
        "wrk",
        "wrk --threads 2 --connections 1 http://192.0.2.80/",
        "wrk --plot plot.jpeg http://192.0.2.80/",
        "wrk --seconds inf http://192.0.2.80/",
    ],
)
def test_what_is_asked_wrongly_ends_with_2(words):
    """One line, exit code 2, nothing sent."""
    result = CliRunner().invoke(cli, ["bench", *words.split()], standalone_mode=False)

    assert 2 == result.exception.exit_code


def test_an_interface_that_is_not_there_ends_with_1():
    """The command line is right, this machine lacks the interface."""
    words = ["bench", "pktgen", "nowhere", "--to", "192.0.2.80:80"]

    result = CliRunner().invoke(cli, words, standalone_mode=False)

    assert (NotFound, 1) == (type(result.exception), result.exception.exit_code)


@pytest.mark.parametrize("name", ["pktgen", "wrk"])
def test_the_scripts_are_the_commands(name):
    """bench/pktgen.py and bench/wrk.py take what `xdplb bench` takes."""
    script = Path(__file__).parents[2] / f"bench/{name}.py"

    done = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)

    assert f"bench {name} [OPTIONS]" in done.stdout


def test_a_url_that_nobody_answers_is_told():
    """The error has wrk's own words."""
    with pytest.raises(XdplbError, match="Connection refused"):
        wrk.run("http://127.0.0.1:9/", wrk.Load(1, 1, 1))
