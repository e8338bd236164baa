"""Ownership files: what they say, and what they cannot say."""

from __future__ import annotations

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats.ownership import (
    GROUPS,
    USERS,
    created_directories,
    match_rules,
    read_ownership,
)

FILES = ["etc/shadow", "etc/ssh/key", "etc/ssh/key.pub", "etc/ssh/.hidden", "root/a b"]
DIRECTORIES = ["etc", "etc/ssh", "etc/ssh/deep", "root"]


def held_by(text: str) -> dict[str, tuple[int | None, int, int]]:
    rules = read_ownership(text.encode(), subject="overlays/web.owners")
    directories = [*DIRECTORIES, *created_directories(rules)]
    held = match_rules(rules, directories=directories, files=FILES)
    return {name: (rule.mode, rule.uid, rule.gid) for name, rule in sorted(held.items())}


@pytest.mark.parametrize(
    "text, held",
    [
        ("", {}),
        ("# a comment\n\n   \n", {}),
        ("0640 root:shadow etc/shadow", {"etc/shadow": (0o640, 0, 42)}),
        ("640 0:0 etc/shadow", {"etc/shadow": (0o640, 0, 0)}),
        ("4755\tnobody:nogroup\tetc/shadow", {"etc/shadow": (0o4755, 65534, 65533)}),
        ("- 7:8 etc/shadow", {"etc/shadow": (None, 7, 8)}),
        ("0600 root:root root/a b", {"root/a b": (0o600, 0, 0)}),
        (
            "0600 root:root etc/ssh/*",
            {"etc/ssh/key": (0o600, 0, 0), "etc/ssh/key.pub": (0o600, 0, 0)},
        ),
        (
            "0600 root:root etc/ssh",  # a directory's name stands for the files below it
            {
                "etc/ssh/.hidden": (0o600, 0, 0),
                "etc/ssh/key": (0o600, 0, 0),
                "etc/ssh/key.pub": (0o600, 0, 0),
            },
        ),
        ("0700 root:root etc/ssh/", {"etc/ssh": (0o700, 0, 0)}),  # and nothing below it
        ("0700 root:root */", {"etc": (0o700, 0, 0), "root": (0o700, 0, 0)}),
        ("d 1777 root:root srv/new/", {"srv/new": (0o1777, 0, 0)}),
        (
            "0600 root:root etc/ssh/*\n0644 root:root etc/ssh/*.pub",  # the last one holds
            {"etc/ssh/key": (0o600, 0, 0), "etc/ssh/key.pub": (0o644, 0, 0)},
        ),
    ],
)
def test_rules_hold_for_what_they_match(text, held):
    assert held_by(text) == held


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "0644 root:root",
            "not an ownership rule; expected MODE OWNER:GROUP PATTERN, or d MODE OWNER:GROUP "
            "PATH/, got 0644 root:root",
        ),
        (
            "rw-r--r-- root:root etc",
            "not a mode; expected octal digits like 0640, or -, got rw-r--r--",
        ),
        ("0948 root:root etc", "not a mode; expected octal digits like 0640, or -, got 0948"),
        ("17777 root:root etc", "not a mode; expected octal digits like 0640, or -, got 17777"),
        ("07 root:root etc", "not a mode; expected octal digits like 0640, or -, got 07"),
        ("0644 root etc", "not an owner; expected OWNER:GROUP like root:root or 0:82, got root"),
        (
            "0644 rot:root etc/shadow",
            "unknown user name; expected root, another fixed Alpine user, or a number, got rot\n"
            "  next: the user of a package gets its number when the package is installed: chown "
            "in an etc/local.d/*.start script instead",
        ),
        (
            "0644 root:nginx etc/shadow",
            "unknown group name; expected a fixed Alpine group such as root or nobody, or a "
            "number, got nginx\n"
            "  next: the group of a package gets its number when the package is installed: chown "
            "in an etc/local.d/*.start script instead",
        ),
        (
            "0644 2097152:0 etc/shadow",
            "user number is too large; expected at most 2097151, got 2097152",
        ),
        (
            "0644 root:root /etc/shadow",
            'not a path inside the overlay; expected a path like "etc/shadow", without leading /, '
            "./ or .., got /etc/shadow",
        ),
        (
            "0644 root:root etc/../../x",
            'not a path inside the overlay; expected a path like "etc/shadow", without leading /, '
            "./ or .., got etc/../../x",
        ),
        (
            "d 0755 root:root srv",
            "a d rule names one directory; expected a path that ends in / and has no wildcards, "
            "got srv",
        ),
        (
            "d 0755 root:root srv/*/",
            "a d rule names one directory; expected a path that ends in / and has no wildcards, "
            "got srv/*/",
        ),
        (
            "0600 root:root etc/shadw",
            "matches nothing; expected a file or link, got etc/shadw\n"
            "  next: did you mean etc/shadow?",
        ),
        (
            "0700 root:root etc/shadow/",
            "matches nothing; expected a directory, got etc/shadow/\n"
            "  next: take away the slash: that is how a file is named",
        ),
        (
            "0700 root:root etc/ssh/deep",
            "matches nothing; expected a file or link, got etc/ssh/deep\n"
            "  next: end the pattern in a slash: that is how a directory is named",
        ),
        (
            "0600 root:root nothing/like/it",
            "matches nothing; expected a file or link, got nothing/like/it\n"
            "  next: correct the pattern, or remove the rule",
        ),
    ],
)
def test_errors_name_the_line(line, message):
    with pytest.raises(RecipeError) as caught:
        held_by(f"# one\n- root:root etc/shadow\n{line}\n")
    told = str(caught.value) if "\n" in message else caught.value.message
    assert told == f"overlays/web.owners:3: {message}"
    assert caught.value.hint


def test_names_that_are_not_utf8_can_be_owned():
    rules = read_ownership(b"0600 root:root etc/\xff*", subject="x")
    held = match_rules(rules, directories=["etc"], files=["etc/\udcffa"])
    assert list(held) == ["etc/\udcffa"]


def test_root_is_number_0_in_both_tables():
    assert USERS["root"] == GROUPS["root"] == 0
