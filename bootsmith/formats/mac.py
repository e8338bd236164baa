"""MAC addresses: how they are written, what they begin with, and a shop's own convention.

Inside the program a MAC is text in lower case with colons, and so is a prefix of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

LENGTH_BYTES = 6
MOST_PREFIX_BYTES = 5
SERIALS = range(1, 1 << 16)
"""Serial 0 is left out: it is what a MAC has whose last bytes nobody filled in."""

_HEX = "0123456789abcdefABCDEF"
_MULTICAST = "13579bdfBDF"
"""A MAC whose second digit is odd addresses a group of machines, never one."""
_SEPARATORS = ":-."


def parse_mac(text: str) -> str | None:
    """The MAC that `text` writes; None where `mac_problem` has something to say.

    Written are six bytes with colons, with dashes, with dots between pairs of bytes
    (`5254.0001.0203`) or with nothing between.
    """
    # As most are written: nothing has to be taken apart.
    if len(text) == 17 and text[2::3] == ":::::":
        digits = text.replace(":", "")
    else:
        digits = _digits(text) or ""
    if len(digits) != 12 or digits.strip(_HEX) or digits[1] in _MULTICAST or not digits.strip("0"):
        return None
    return _with_colons(digits.lower())


def mac_problem(text: str) -> str | None:
    """What keeps `text` from being the MAC of a machine; None for a good one."""
    digits = _digits(text)
    if digits is None or digits.strip(_HEX):
        return "is not a MAC address"
    if len(digits) != 2 * LENGTH_BYTES:
        return f"is not a MAC address: it has {_count(digits)} and not {LENGTH_BYTES}"
    if digits[1] in _MULTICAST:
        return (
            f"is no machine's MAC address: its first byte, {digits[:2]}, is odd, "
            "which addresses a group"
        )
    if not digits.strip("0"):
        return "is no machine's MAC address: all its bytes are zero"
    return None


def parse_prefix(text: str) -> str | None:
    """One to five whole bytes that MACs begin with; None where `prefix_problem` objects."""
    return None if prefix_problem(text) else _with_colons((_digits(text) or "").lower())


def prefix_problem(text: str) -> str | None:
    """What keeps `text` from being the beginning of a MAC; None for a good one."""
    digits = _digits(text)
    if digits is None or not digits or digits.strip(_HEX):
        return "is not the beginning of a MAC address"
    if len(digits) % 2:
        return "ends inside a byte"
    if len(digits) > 2 * MOST_PREFIX_BYTES:
        return f"is too long: it has {_count(digits)}"
    if digits[1] in _MULTICAST:
        return (
            f"is the beginning of no machine's MAC address: its first byte, {digits[:2]}, is odd, "
            "which addresses a group"
        )
    return None


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Bytes 1 and 2 are fixed, byte 3 says the level, byte 4 the template, 5 and 6 a serial."""

    fixed: str
    """Two bytes."""
    levels: Mapping[str, int]
    templates: Mapping[str, int]

    def prefix(self, level: str, template: str) -> str:
        """What MACs of this level and template begin with."""
        return f"{self.fixed}:{self.levels[level]:02x}:{self.templates[template]:02x}"

    def prefixes(self) -> Iterator[tuple[str, str, str]]:
        """(prefix, level, template) for each pair."""
        for level in self.levels:
            for template in self.templates:
                yield self.prefix(level, template), level, template

    def covers(self, mac: str) -> bool:
        """Whether a MAC, or a prefix of one, begins with the fixed bytes."""
        return mac[:5] == self.fixed

    def next_serial(self, prefix: str, taken: Iterable[str]) -> int | None:
        """The serial behind the highest one in use; the lowest free one once all were used.

        None where none is free. A serial that was given back is not given out again at once:
        leases and overlays of the machine that had it may still be about.
        """
        length = len(prefix)
        used = {
            int(mac[length + 1 :].replace(":", ""), 16) for mac in taken if mac[:length] == prefix
        }
        after = max(used, default=0) + 1
        if after in SERIALS:
            return after
        return next((serial for serial in SERIALS if serial not in used), None)


def with_serial(prefix: str, serial: int) -> str:
    """The MAC of this serial; `prefix` has four bytes."""
    return f"{prefix}:{serial >> 8:02x}:{serial & 255:02x}"


def _digits(text: str) -> str | None:
    """The digits of `text`, if it has one kind of separator, evenly; else None."""
    used = [separator for separator in _SEPARATORS if separator in text]
    if not used:
        return text
    [separator, *others] = used
    parts = text.split(separator)
    width = 4 if separator == "." else 2
    # The last part may be shorter, so that it can be said that it ends inside a byte.
    if others or any(len(part) != width for part in parts[:-1]) or not 0 < len(parts[-1]) <= width:
        return None
    return "".join(parts)


def _count(digits: str) -> str:
    whole, half = divmod(len(digits), 2)
    return f"{whole} byte{'' if whole == 1 else 's'}{' and a half' if half else ''}"


def _with_colons(digits: str) -> str:
    return ":".join([digits[at : at + 2] for at in range(0, len(digits), 2)])
