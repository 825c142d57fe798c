# SPDX-License-Identifier: MIT
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xdplb.errors import UsageError
from xdplb.model.address import parse_address
from xdplb.model.configuration import Configuration, Timeouts
from xdplb.model.schedulers import SCHEDULERS, check_ring_slots
from xdplb.model.service import Protocol, Real, Service, ServiceKey
from xdplb.model.tunables import Tunables

keys = st.builds(ServiceKey, st.sampled_from(Protocol), st.ip_addresses(), st.integers(0, 65535))


@given(keys)
def test_service_keys_survive_as_text(key):
    """A key's text is parsed as that key."""
    assert key == ServiceKey.parse(str(key))


def test_service_key_reads_as_protocol_and_endpoint():
    """A key is written protocol/address:port."""
    vip = parse_address("192.0.2.1")
    assert "tcp/192.0.2.1:80" == str(ServiceKey(Protocol.TCP, vip, 80))
    assert "udp/[2001:db8::1]:0" == str(ServiceKey(Protocol.UDP, parse_address("2001:db8::1"), 0))


@pytest.mark.parametrize("text", ["192.0.2.1:80", "sctp/192.0.2.1:80", "tcp", "/192.0.2.1:80"])
def test_service_key_begins_with_its_protocol(text):
    """A key without a protocol that xdplb balances is refused."""
    with pytest.raises(UsageError, match="does not begin with its protocol; write it as tcp/"):
        ServiceKey.parse(text)


def test_protocols_are_ip_numbers():
    """TCP is 6 and UDP is 17, as in the IP header."""
    assert {"TCP": 6, "UDP": 17} == {protocol.name: protocol.value for protocol in Protocol}


def test_defaults_are_those_of_ipvs():
    """Timeouts of 900, 120 and 300 s, as `ipvsadm -l --timeout` shows; a weight of 1."""
    assert Timeouts(tcp=900, tcpfin=120, udp=300) == Timeouts()
    assert (1, 1) == (Real(parse_address("192.0.2.7")).weight, Real.last_weight)


def test_defaults_are_valid():
    """The default scheduler exists and the default ring has a size that it accepts."""
    assert Service.scheduler in SCHEDULERS
    check_ring_slots(Tunables().ring_slots)


def test_flow_buckets_are_a_power_of_two():
    """The C program masks a hash by the number of buckets."""
    assert 1 == Tunables().flow_buckets.bit_count()


@pytest.mark.parametrize("value", [Timeouts(), Tunables(), Configuration()])
def test_values_are_frozen(value):
    """A value cannot be changed after it is made."""
    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(value)[0].name, None)


def test_configurations_do_not_share_services():
    """An empty configuration cannot be filled by accident."""
    with pytest.raises(TypeError):
        Configuration().services["web"] = None
