"""IPv4 as numbers; the standard library says what is right."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.formats.ipv4 import format_ipv4, parse_ipv4, parse_subnet

ADDRESS_LIKE = st.from_regex(r"\A[0-9]{0,4}(\.[0-9]{0,4}){2,4}\Z") | st.text(max_size=16)


def by_library(kind, text):
    try:
        return kind(text)
    except ValueError:
        return None


@given(st.integers(0, 2**32 - 1))
def test_addresses_there_and_back(number):
    text = str(ipaddress.IPv4Address(number))
    assert parse_ipv4(text) == number
    assert format_ipv4(number) == text


@given(ADDRESS_LIKE)
def test_an_address_is_one_for_the_library_too(text):
    found = by_library(ipaddress.IPv4Address, text)
    assert parse_ipv4(text) == (None if found is None else int(found))


@given(st.integers(0, 2**32 - 1), st.integers(0, 33))
def test_a_subnet_is_one_for_the_library_too(number, bits):
    for text in (
        f"{format_ipv4(number)}/{bits}",
        f"{format_ipv4(number >> 8 << 8)}/{bits}",
        f"{format_ipv4((number >> 16) << 16)}/{bits}",
    ):
        found = by_library(ipaddress.IPv4Network, text)
        subnet = parse_subnet(text)
        assert (subnet is None) == (found is None)
        if subnet is not None:
            assert subnet.first == int(found.network_address)
            assert subnet.last == int(found.broadcast_address)
            assert subnet.bits == bits


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/255.0.0.0", "10.0.0.0/-1", "/8"]
)
def test_what_is_no_subnet(text):
    assert parse_subnet(text) is None


def test_what_lies_in_a_subnet():
    subnet = parse_subnet("10.20.0.0/24")
    assert subnet is not None
    inside = parse_ipv4("10.20.0.7")
    assert inside in subnet
    assert subnet.holds_host(inside)
    assert parse_ipv4("10.20.0.255") in subnet
    assert not subnet.holds_host(parse_ipv4("10.20.0.255"))
    assert not subnet.holds_host(parse_ipv4("10.20.0.0"))
    assert parse_ipv4("10.20.1.7") not in subnet
    assert None not in subnet
