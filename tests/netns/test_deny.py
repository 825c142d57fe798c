# SPDX-License-Identifier: MIT
"""Denying sources live, and what the deny list survives."""

import time

import pytest
from fivehosts import Lab

from xdplb.lab import VIP

pytestmark = pytest.mark.root

CLIENT, ROUTE = "192.168.1.200", "192.168.2.1"


@pytest.fixture
def balanced(director: Lab):
    """A director of a service on two reals; nobody is denied."""
    director.balance("mh")
    yield director
    director.balance("mh")  # a configuration without `deny`


def answers(lab: Lab, host: str) -> bool:
    """Whether a host gets a page from the VIP within a second."""
    curl = ["curl", "-sS", "-o", "/dev/null", "-m", "1", f"http://{VIP}/"]
    return lab.run(host, *curl, check=False).returncode == 0


def test_denied_and_admitted_under_traffic(balanced):
    """A download stops while its client is denied, and goes on; another host notices nothing."""
    argv = ["curl", "-sS", "--limit-rate", "2M", "-m", "60", f"http://{VIP}/large"]
    download = balanced.start("client", argv)
    time.sleep(0.5)
    assert answers(balanced, "client")

    balanced.xdplb("deny", "add", CLIENT, "203.0.113.0/24")
    assert ["192.168.1.200/32", "203.0.113.0/24"] == balanced.json("deny", "list")
    assert not answers(balanced, "client")
    assert answers(balanced, "route")
    assert balanced.counters()["drop_denied"] > 0
    balanced.xdplb("deny", "del", CLIENT)

    assert answers(balanced, "client")
    assert "203.0.113.0/24\n" == balanced.xdplb("deny", "list")
    assert 10 << 20 == len(download.communicate(timeout=60)[0])


def test_the_list_outlives_attach_upgrade_and_flush(balanced):
    """Attached again, with other sizes, or flushed: who is denied stays denied."""
    saved = balanced.xdplb("save")
    balanced.xdplb("deny", "add", CLIENT)

    balanced.xdplb("attach", "ens33")
    assert not answers(balanced, "client")
    balanced.xdplb("attach", "ens33", "--tune", "max_denied=100")
    assert not answers(balanced, "client")
    balanced.xdplb("detach", "ens33")
    balanced.attach()
    assert not answers(balanced, "client")
    denying = balanced.xdplb("save")
    balanced.xdplb("flush")
    assert [f"{CLIENT}/32"] == balanced.json("deny", "list")

    deny = f'deny = [\n    "{CLIENT}/32",\n]\n\n'
    assert saved.replace("[timeouts]", f"{deny}[timeouts]") == denying


def test_the_list_is_of_the_configuration(balanced):
    """`apply` says what changes of it, and makes it what the file says."""
    balanced.xdplb("deny", "add", CLIENT)
    (key,) = [entry["service"] for entry in balanced.json("list")]

    said = balanced.apply(balanced.xdplb("save").replace(f"{CLIENT}/32", "192.0.2.0/24"))

    assert f"- deny {CLIENT}/32\n+ deny 192.0.2.0/24\n" == said
    assert [key] == [entry["service"] for entry in balanced.json("list")]
    assert answers(balanced, "client")


def test_limits_are_listed_and_saved(balanced):
    """Set on a live service, shown, saved, and taken away by 0."""
    service = ("-t", f"{VIP}:80")
    plain = balanced.xdplb("save")

    balanced.xdplb("service", "edit", *service, "--limit", "2000", "--source-limit", "50")

    (listed,) = balanced.json("list")
    assert (2000, 50) == (listed["limit"], listed["source_limit"])
    assert "mh limit 2000/s source_limit 50/s" in balanced.xdplb("list")
    limits = "limit = 2000\nsource_limit = 50\n"
    assert plain.replace("reals =", f"{limits}reals =") == balanced.xdplb("save")
    assert answers(balanced, "client")
    balanced.xdplb("service", "edit", *service, "--limit", "0", "--source-limit", "0")
    assert plain == balanced.xdplb("save")
