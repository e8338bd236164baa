"""Names of archive members, before anything is done with them.

A lexical check alone does not confine an unpacker: `x -> /etc` followed by `x/passwd`
has two harmless names. So a name is checked here, and whoever keeps members also
remembers which of them are symbolic links (`LinkGuard`) and refuses to pass through one.
"""

from __future__ import annotations

from bootsmith.errors import FormatError

NAME_LIMIT_BYTES = 4096
"""PATH_MAX of Linux: a longer name cannot be a file here."""


_HINT = "use no archive that does such; get the file again from where it comes"


def check_member_name(name: str, *, subject: object) -> str:
    """`name` as a clean relative path: no leading `./`, no trailing `/`; "" for the root.

    Raises FormatError for an absolute name, a `..` component, a NUL or control character,
    an overlong name. `subject` names the archive in the error.
    """
    shown = ascii(name[:80])
    if name.startswith("/"):
        raise FormatError(subject, "member has an absolute name", got=shown, hint=_HINT)
    if len(name.encode("utf-8", "surrogateescape")) > NAME_LIMIT_BYTES:
        raise FormatError(
            subject,
            f"member name is longer than {NAME_LIMIT_BYTES} bytes",
            got=f"{shown}…",
            hint=_HINT,
        )
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in name):
        raise FormatError(subject, "member name holds a control character", got=shown, hint=_HINT)
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise FormatError(subject, "member name climbs out with ..", got=shown, hint=_HINT)
    return "/".join(parts)


class LinkGuard:
    """Refuses a path that leads through a symbolic link seen earlier in the same archive."""

    def __init__(self, subject: object) -> None:
        self._subject = subject
        self._links: set[str] = set()

    def admit(self, name: str, *, is_link: bool) -> None:
        """Take note of the clean `name`; FormatError if one of its parents is a link."""
        position = name.find("/")
        while position != -1:
            if name[:position] in self._links:
                raise FormatError(
                    self._subject,
                    "member goes through a symbolic link of the archive",
                    got=f"{name!a} through {name[:position]!a}",
                    hint=_HINT,
                )
            position = name.find("/", position + 1)
        if is_link:
            self._links.add(name)
        else:
            self._links.discard(name)
