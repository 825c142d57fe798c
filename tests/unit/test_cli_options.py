# SPDX-License-Identifier: MIT
"""Addresses as ipvsadm takes them."""

import pytest

from xdplb.cli.options import real_address
from xdplb.errors import UsageError
from xdplb.model.address import parse_address
from xdplb.model.service import ServiceKey

WEB = ServiceKey.parse("tcp/[2001:db8::100]:80")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:80", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:80", "2001:db8::7"),
        ("2001:db8::80", "2001:db8::80"),
    ],
)
def test_a_real_is_an_address_with_the_service_s_port_or_none(text, address):
    """Of either family, whatever the service's is; IPv6 in brackets, or without a port."""
    assert parse_address(address) == real_address(text, WEB)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[2001:db8::7]:81", "has another port"),
        ("192.0.2.7:81", "has another port"),
        ("[2001:db8::7]:", "port ''"),
        ("[2001:db8::80", "is not an IP address"),
        ("2001:db8::7]:80", "is not an IP address"),
        ("[192.0.2.7", "is not a port"),
        ("[]:80", "real '' is not an IP address"),
        ("rs1", "real 'rs1' is not an IP address"),
        ("", "real '' is not an IP address"),
    ],
)
def test_what_is_no_real_is_refused(text, message):
    """Another port than the service's, half of the brackets, names."""
    with pytest.raises(UsageError, match=message):
        real_address(text, WEB)
