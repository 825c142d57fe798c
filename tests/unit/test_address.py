# SPDX-License-Identifier: MIT
import ctypes
import socket
import sys
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xdplb.errors import UsageError
from xdplb.kernel import byte_order
from xdplb.model.address import (
    fold_address,
    format_endpoint,
    parse_address,
    parse_endpoint,
    parse_port,
    parse_prefix,
)

addresses = st.ip_addresses()
ports = st.integers(0, 65535)


@given(addresses, ports)
def test_endpoints_survive_as_text(address, port):
    """What is formatted is parsed again."""
    assert (address, port) == parse_endpoint(format_endpoint(address, port))


def test_ipv6_endpoints_have_brackets():
    """IPv6 is written in brackets, as in URLs."""
    assert "[2001:db8::1]:80" == format_endpoint(parse_address("2001:db8::1"), 80)
    assert "192.0.2.1:80" == format_endpoint(parse_address("192.0.2.1"), 80)


@pytest.mark.parametrize(
    "text", ["", "192.0.2.1", "2001:db8::1:80", "[2001:db8::1]", "[192.0.2.1:80", "::1:80"]
)
def test_endpoints_need_an_address_and_a_port(text):
    """Text that is no ADDRESS:PORT is refused; the message shows both forms."""
    with pytest.raises(UsageError, match=r"; write it as 192\.0\.2\.1"):
        parse_endpoint(text)


@given(st.ip_addresses(), st.integers(0, 128))
def test_prefixes_survive_as_text_and_keep_their_bits(address, length):
    """What is written is parsed again. The key has the address's bits, v4-mapped."""
    length = min(length, address.max_prefixlen)
    prefix = ip_network((address, length), strict=False)

    assert prefix == parse_prefix(str(prefix))
    of_key = ip_network(
        (byte_order.mapped(prefix.network_address), byte_order.prefix_length(prefix))
    )
    assert ip_address(byte_order.mapped(address)) in of_key
    assert prefix.num_addresses == of_key.num_addresses


def test_an_address_is_a_prefix():
    """A bare address is a prefix of one address."""
    assert ip_network("192.0.2.7/32") == parse_prefix("192.0.2.7")


@pytest.mark.parametrize("text", ["", "lan", "192.0.2.0/33", "192.0.2.0/", "192.0.2/24", "/24"])
def test_prefixes_are_addresses_and_lengths(text):
    """Text that is no prefix is refused; the message shows how to write one."""
    with pytest.raises(UsageError, match=r"is not one; write it as 192\.0\.2\.0/24"):
        parse_prefix(text)


def test_prefixes_with_host_bits_name_the_network():
    """A prefix with host bits is refused: it could mean the host or its network."""
    with pytest.raises(UsageError, match=r"'192\.0\.2\.7/24' has .*; write 192\.0\.2\.0/24$"):
        parse_prefix("192.0.2.7/24")


@pytest.mark.parametrize("text", ["", "-1", "65536", "http", "+80", " 80", "8_0", "٨٠"])
def test_ports_are_0_to_65535(text):
    """A port out of range is refused, with its name."""
    with pytest.raises(UsageError, match=r"source port .* is not a port; give a number from 0"):
        parse_port(text, "source port")


@given(ports)
def test_ports_are_decimal(port):
    """All ports from 0 to 65535 are parsed."""
    assert port == parse_port(str(port))


def test_addresses_are_named_in_mistakes():
    """The message says which address is meant."""
    with pytest.raises(UsageError, match=r"RIP 'rs1' is not an IP address"):
        parse_address("rs1", "RIP")


def test_ipv4_is_mapped():
    """IPv4 is held as ::ffff:0:0/96 (RFC 4291 §2.5.5.2)."""
    expected = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1")
    assert expected == byte_order.mapped(parse_address("192.0.2.1"))


@given(addresses)
def test_words_lie_in_memory_as_the_packet_has_them(address):
    """The two words, stored natively, are the 16 bytes in network order."""
    words = (ctypes.c_uint64 * 2)(*byte_order.address_words(address))
    assert byte_order.mapped(address) == bytes(words)


@given(addresses.filter(lambda a: a.version == 4 or a.ipv4_mapped is None))
def test_words_are_addresses_again(address):
    """Words are read back as the same address."""
    assert address == byte_order.address_of_words(*byte_order.address_words(address))


@given(ports)
@example(0x1234)
def test_ports_lie_in_memory_in_network_order(port):
    """A __be16 holds the value of htons()."""
    assert port.to_bytes(2, "big") == byte_order.htons(port).to_bytes(2, sys.byteorder)


@given(st.ip_addresses(v=4))
def test_ipv4_folds_to_itself(address):
    """IPVS hashes IPv4 addresses in host order."""
    assert int(address) == fold_address(address)


def test_ipv6_folds_by_exclusive_or():
    """The four words of an IPv6 address are XORed."""
    assert 0x11111111 == fold_address(parse_address("1:1:10:10:100:100:1000:1000"))
    assert 0x0000FFFE == fold_address(parse_address("ffff:ffff::ffff:1"))
