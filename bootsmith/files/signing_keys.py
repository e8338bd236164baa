"""Key pairs of the site on disk: `NAME.rsa`, which only its owner may read, and `NAME.rsa.pub`."""

from __future__ import annotations

import stat
from pathlib import Path

from bootsmith.errors import SourceError
from bootsmith.formats.signing_key import SigningKey, read_signing_key

_MOST_KEY_BYTES = 64 << 10


def read_key_pair(private: Path, public: Path) -> SigningKey:
    """The key in `private`, called as `public` is, once both halves are there and belong together.

    Raises SourceError or FormatError, none of which tell what is in the file.
    """
    name = private.name.removesuffix(".rsa")
    if not private.exists():
        raise SourceError(
            private,
            "private key is not here",
            hint=f"copy it here from where it is kept, or make a new one: doit key --name {name}",
        )
    check_private_mode(private)
    key = read_signing_key(read_bytes(private), name=public.name, subject=private)
    if not public.exists():
        raise SourceError(
            public, "public half is missing", hint=f"write it again: doit key --name {name}"
        )
    if read_bytes(public) != key.public_pem():
        raise SourceError(
            public,
            f"is not the public half of {private.name}",
            hint=f"remove it and write it again: doit key --name {name}",
        )
    return key


def check_private_mode(path: Path) -> None:
    """SourceError if anyone but the owner of a private half may read or change it."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SourceError(
            path,
            "private key is open to other users",
            expected="mode 0600",
            got=f"mode {mode:04o}",
            hint=f"chmod 600 {path}; if others could read it, make a new key",
        )


def read_bytes(path: Path) -> bytes:
    """The content of a key file; SourceError if it cannot be read or is too long for one."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_KEY_BYTES + 1)
    except OSError as error:
        raise SourceError(
            path,
            f"key cannot be read ({error.strerror})",
            hint="correct its mode, or name another key",
        ) from None
    if len(content) > _MOST_KEY_BYTES:
        raise SourceError(
            path,
            "is too long for a key",
            expected=f"at most {_MOST_KEY_BYTES} bytes",
            hint="name the key itself; doit key makes one",
        )
    return content
