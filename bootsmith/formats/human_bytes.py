"""Sizes as people say them."""

from __future__ import annotations


def human_bytes(size_bytes: int) -> str:
    """`4.6 MB`: decimal units, as disks and downloads are sold."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("unreachable")
