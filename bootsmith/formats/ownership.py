"""Ownership files: who owns what in an overlay, and with which mode.

Git keeps neither owner nor mode, so `overlays/<name>.owners` says them, one rule a line:

    MODE OWNER:GROUP GLOB        files and links; a glob that names a directory stands for
                                 all files below it
    MODE OWNER:GROUP GLOB/       directories themselves, not what is below them
    d MODE OWNER:GROUP PATH/     a directory that shall exist (git keeps no empty ones)

MODE is octal, or `-` for the mode that would hold without the rule. Later rules win.
`*` and `?` match neither a slash nor a leading dot. Empty lines and lines that start with
`#` do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bootsmith.errors import RecipeError
from bootsmith.formats.features import expand_globs
from bootsmith.formats.member_names import check_member_name

# Accounts with the same number on every Alpine release since 3.1 (aports
# main/alpine-baselayout, passwd and group). Numbers of other accounts, such as nginx, are
# given out when their package is installed and differ between machines.
USERS: Mapping[str, int] = {
    "root": 0,
    "bin": 1,
    "daemon": 2,
    "adm": 3,
    "lp": 4,
    "sync": 5,
    "shutdown": 6,
    "halt": 7,
    "mail": 8,
    "news": 9,
    "uucp": 10,
    "operator": 11,
    "postmaster": 14,
    "cron": 16,
    "ftp": 21,
    "sshd": 22,
    "squid": 31,
    "games": 35,
    "ntp": 123,
    "guest": 405,
    "nobody": 65534,
}
GROUPS: Mapping[str, int] = {
    "root": 0,
    "bin": 1,
    "daemon": 2,
    "sys": 3,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "mem": 8,
    "kmem": 9,
    "wheel": 10,
    "floppy": 11,
    "mail": 12,
    "news": 13,
    "uucp": 14,
    "cron": 16,
    "audio": 18,
    "cdrom": 19,
    "dialout": 20,
    "ftp": 21,
    "sshd": 22,
    "input": 23,
    "tape": 26,
    "video": 27,
    "netdev": 28,
    "squid": 31,
    "kvm": 34,
    "games": 35,
    "shadow": 42,
    "www-data": 82,
    "users": 100,
    "ntp": 123,
    "utmp": 406,
    "nogroup": 65533,
    "nobody": 65534,
}
_MOST_ID = 0o7777777  # what a ustar header holds


@dataclass(frozen=True, kw_only=True)
class OwnershipRule:
    """One line. `mode` None keeps the mode; `creates` is the `d` form."""

    subject: str
    pattern: str
    is_directory: bool
    creates: bool
    mode: int | None
    uid: int
    gid: int


def read_ownership(text: bytes, *, subject: str) -> tuple[OwnershipRule, ...]:
    """The rules in their order. `subject` names the file; RecipeError is `subject:line`."""
    rules = []
    for number, line in enumerate(text.decode("utf-8", "surrogateescape").split("\n"), start=1):
        if line.strip() and not line.startswith("#"):
            rules.append(_read_rule(line.strip(), f"{subject}:{number}"))
    return tuple(rules)


def created_directories(rules: Iterable[OwnershipRule]) -> tuple[str, ...]:
    """Directories that `d` rules ask for."""
    return tuple(rule.pattern for rule in rules if rule.creates)


def match_rules(
    rules: Sequence[OwnershipRule], *, directories: Iterable[str], files: Iterable[str]
) -> Mapping[str, OwnershipRule]:
    """The rule that holds for each path that has one; the last match wins.

    `directories` include those that `d` rules create. A rule that matches nothing is a
    RecipeError: it protects a file that was meant to be there.
    """
    sorted_directories, sorted_files = sorted(directories), sorted(files)
    taken = set(sorted_files)
    holding: dict[str, OwnershipRule] = {}
    for rule in rules:
        if rule.creates and rule.pattern in taken:
            raise RecipeError(
                rule.subject,
                "would make a directory where the overlay has a file",
                got=f"{rule.pattern}/",
                hint="rename or remove one of the two",
            )
        matched = _matched(rule, sorted_directories if rule.is_directory else sorted_files)
        if not matched:
            others = sorted_files if rule.is_directory else sorted_directories
            raise RecipeError(
                rule.subject,
                "matches nothing",
                expected="a directory" if rule.is_directory else "a file or link",
                got=rule.pattern + "/" * rule.is_directory,
                hint=_hint_for_no_match(rule, others, sorted_directories + sorted_files),
            )
        holding.update(dict.fromkeys(matched, rule))
    return holding


def _matched(rule: OwnershipRule, names: Sequence[str]) -> Sequence[str]:
    if rule.creates:
        return (rule.pattern,)
    found = expand_globs((rule.pattern,), names)[rule.pattern]
    if rule.is_directory:
        # Wildcards do not cross slashes: what is as deep as the pattern is the match itself.
        depth = rule.pattern.count("/")
        return [name for name in found if name.count("/") == depth]
    return found


def _hint_for_no_match(rule: OwnershipRule, others: Sequence[str], names: Sequence[str]) -> str:
    import difflib  # errors only

    if _matched(rule, others):
        form = "take away the slash" if rule.is_directory else "end the pattern in a slash"
        return f"{form}: that is how a {'file' if rule.is_directory else 'directory'} is named"
    near = difflib.get_close_matches(rule.pattern, names, n=1)
    return f"did you mean {near[0]}?" if near else "correct the pattern, or remove the rule"


def _read_rule(line: str, subject: str) -> OwnershipRule:
    creates = line.startswith(("d ", "d\t"))
    parts = (line[1:].strip() if creates else line).split(None, 2)
    if len(parts) != 3:
        raise RecipeError(
            subject,
            "not an ownership rule",
            expected="MODE OWNER:GROUP PATTERN, or d MODE OWNER:GROUP PATH/",
            got=line,
            hint="correct the line; docs/apkovl.md shows the format",
        )
    mode, owner, pattern = parts
    is_directory = pattern.endswith("/")
    if creates and (not is_directory or any(letter in pattern for letter in "*?[\\")):
        raise RecipeError(
            subject,
            "a d rule names one directory",
            expected="a path that ends in / and has no wildcards",
            got=pattern,
            hint="give each directory a line of its own",
        )
    uid, gid = _read_owner(owner, subject)
    return OwnershipRule(
        subject=subject,
        pattern=_checked_pattern(pattern, subject),
        is_directory=is_directory,
        creates=creates,
        mode=_read_mode(mode, subject),
        uid=uid,
        gid=gid,
    )


def _checked_pattern(pattern: str, subject: str) -> str:
    body = pattern.removesuffix("/")
    if not body or body.startswith("/") or {"", ".", ".."} & set(body.split("/")):
        raise RecipeError(
            subject,
            "not a path inside the overlay",
            expected='a path like "etc/shadow", without leading /, ./ or ..',
            got=pattern,
            hint="write it as it is below the overlay's directory",
        )
    return check_member_name(body, subject=subject)


def _read_mode(text: str, subject: str) -> int | None:
    if text == "-":
        return None
    if not 3 <= len(text) <= 4 + text.startswith("0") or text.strip("01234567"):
        raise RecipeError(
            subject,
            "not a mode",
            expected="octal digits like 0640, or -",
            got=text,
            hint="correct the mode",
        )
    mode = int(text, 8)
    if mode > 0o7777:
        raise RecipeError(
            subject,
            "not a mode",
            expected="at most 7777",
            got=text,
            hint="correct the mode",
        )
    return mode


def _read_owner(text: str, subject: str) -> tuple[int, int]:
    owner, colon, group = text.partition(":")
    if not colon or not owner or not group:
        raise RecipeError(
            subject,
            "not an owner",
            expected="OWNER:GROUP like root:root or 0:82",
            got=text,
            hint="name both, as numbers or by the names that Alpine has",
        )
    return _number(owner, USERS, "user", subject), _number(group, GROUPS, "group", subject)


def _number(name: str, known: Mapping[str, int], kind: str, subject: str) -> int:
    if name.isascii() and name.isdigit():
        if int(name) > _MOST_ID:
            raise RecipeError(
                subject,
                f"{kind} number is too large",
                expected=f"at most {_MOST_ID}",
                got=name,
                hint="use a smaller number",
            )
        return int(name)
    if name not in known:
        import difflib  # errors only

        near = difflib.get_close_matches(name, known, n=1)
        raise RecipeError(
            subject,
            f"unknown {kind} name",
            expected=f"{near[0]}, another fixed Alpine {kind}, or a number"
            if near
            else f"a fixed Alpine {kind} such as root or nobody, or a number",
            got=name,
            hint=f"the {kind} of a package gets its number when the package is installed: "
            "chown in an etc/local.d/*.start script instead",
        )
    return known[name]
