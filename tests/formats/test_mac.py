"""MAC addresses, their beginnings, and the convention that makes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bootsmith.formats.mac import (
    Convention,
    mac_problem,
    parse_mac,
    parse_prefix,
    prefix_problem,
    with_serial,
)

CONVENTION = Convention(
    fixed="aa:bb", levels={"infra": 1, "service": 2}, templates={"web": 0x10, "db": 0x11}
)


@pytest.mark.parametrize(
    "text",
    [
        "52:54:00:0A:bc:01",
        "52-54-00-0a-BC-01",
        "5254.000a.bc01",
        "5254000ABC01",
    ],
)
def test_a_mac_however_it_is_written(text):
    assert parse_mac(text) == "52:54:00:0a:bc:01"
    assert mac_problem(text) is None


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "is not a MAC address: it has 0 bytes and not 6"),
        ("web-1", "is not a MAC address"),
        ("52:54:00:0a:bc", "is not a MAC address: it has 5 bytes and not 6"),
        ("52:54:00:0a:bc:01:02", "is not a MAC address: it has 7 bytes and not 6"),
        ("52:54:00:0a:bc:1", "is not a MAC address: it has 5 bytes and a half and not 6"),
        ("52:54:00:0a:bc:0g", "is not a MAC address"),
        ("52:54:00-0a:bc:01", "is not a MAC address"),
        ("52:5400:0a:bc:01", "is not a MAC address"),
        (":52:54:00:0a:bc:01", "is not a MAC address"),
        ("52:54:00:0a:bc:01 ", "is not a MAC address"),
        ("٥٢:54:00:0a:bc:01", "is not a MAC address"),
        ("01-52-54-00-0a-bc-01", "is not a MAC address: it has 7 bytes and not 6"),
        ("00:00:00:00:00:00", "is no machine's MAC address: all its bytes are zero"),
        (
            "01:00:5e:00:00:01",
            "is no machine's MAC address: its first byte, 01, is odd, which addresses a group",
        ),
        (
            "ff:ff:ff:ff:ff:ff",
            "is no machine's MAC address: its first byte, ff, is odd, which addresses a group",
        ),
    ],
)
def test_what_is_no_mac_of_a_machine(text, problem):
    assert parse_mac(text) is None
    assert mac_problem(text) == problem


@given(st.text(max_size=20) | st.text("0123456789abcdefABCDEF:-.", max_size=20))
def test_a_mac_is_read_or_said_to_be_none(text):
    mac = parse_mac(text)
    assert (mac is None) == (mac_problem(text) is not None)
    if mac is not None:
        assert mac == parse_mac(mac) == mac.lower()
        assert len(mac) == 17


@pytest.mark.parametrize(
    "text, prefix",
    [
        ("AA", "aa"),
        ("AA:BB:01:02", "aa:bb:01:02"),
        ("00-1B-21", "00:1b:21"),
        ("001b21", "00:1b:21"),
        ("0e:00:00:00:00", "0e:00:00:00:00"),
        ("5254.00", "52:54:00"),
    ],
)
def test_prefixes(text, prefix):
    assert parse_prefix(text) == prefix
    assert prefix_problem(text) is None


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "is not the beginning of a MAC address"),
        ("52:", "is not the beginning of a MAC address"),
        ("52:54:*", "is not the beginning of a MAC address"),
        ("52:5", "ends inside a byte"),
        ("525", "ends inside a byte"),
        ("52:54:00:00:00:01", "is too long: it has 6 bytes"),
        (
            "33:33",
            "is the beginning of no machine's MAC address: its first byte, 33, is odd, "
            "which addresses a group",
        ),
    ],
)
def test_what_is_no_prefix(text, problem):
    assert parse_prefix(text) is None
    assert prefix_problem(text) == problem


def test_the_convention_makes_a_prefix_of_each_pair():
    assert list(CONVENTION.prefixes()) == [
        ("aa:bb:01:10", "infra", "web"),
        ("aa:bb:01:11", "infra", "db"),
        ("aa:bb:02:10", "service", "web"),
        ("aa:bb:02:11", "service", "db"),
    ]
    assert CONVENTION.covers("aa:bb:09:09:00:01")
    assert not CONVENTION.covers("aa:bc:01:10:00:01")


@pytest.mark.parametrize(
    "taken, serial",
    [
        ([], 1),
        (["aa:bb:01:10:00:00"], 1),
        (["aa:bb:01:10:00:01"], 2),
        (["aa:bb:01:10:00:07", "aa:bb:01:10:00:02"], 8),
        (["aa:bb:01:10:00:ff"], 256),
        (["aa:bb:01:11:00:07", "aa:bb:02:10:00:09"], 1),
        (["aa:bb:01:10:ff:ff"], 1),
        (["aa:bb:01:10:ff:ff", "aa:bb:01:10:00:01"], 2),
        ([f"aa:bb:01:10:{serial >> 8:02x}:{serial & 255:02x}" for serial in range(65536)], None),
    ],
    ids=str,
)
def test_the_next_serial(taken, serial):
    assert CONVENTION.next_serial("aa:bb:01:10", taken) == serial


def test_a_mac_with_a_serial():
    assert with_serial("aa:bb:01:10", 0x1FF) == "aa:bb:01:10:01:ff"
