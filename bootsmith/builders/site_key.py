"""The site's own key: made once, by hand, and never again.

The private half stays in `recipes/keys`, readable to its owner alone and ignored by git;
machines and generations get the public half.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bootsmith.errors import RecipeError
from bootsmith.files.atomic import replacing_file, write_file
from bootsmith.files.signing_keys import check_private_mode, read_bytes
from bootsmith.formats.signing_key import LEAST_BITS, SigningKey, read_signing_key
from bootsmith.site.models import NAME

_MOST_BITS = 8192
_PUBLIC_EXPONENT = 65537
_IGNORED = "*.rsa"


def make_key(*, directory: Path, name: str, bits: int | None, say: Callable[[str], None]) -> None:
    """Make `NAME.rsa` and `NAME.rsa.pub` in `directory`, an RSA key of `bits`.

    Where only the public half is gone it is written again. Raises RecipeError for a key
    that is there already: what it signed would no longer be trusted.
    """
    bits = 4096 if bits is None else bits
    _check(name, bits)
    private, public = directory / f"{name}.rsa", directory / f"{name}.rsa.pub"
    if private.exists() and not public.exists():
        check_private_mode(private)
        key = read_signing_key(read_bytes(private), name=public.name, subject=private)
        write_file(public, key.public_pem())
        say(f"wrote {public.name} again, the public half of {private}")
        return
    for path in (private, public):
        if path.exists():
            raise RecipeError(
                path,
                "is there already, and is not written over",
                hint="give the new key another name: doit key --name NAME",
            )
    _ignore(directory / ".gitignore")
    key = _generate(public.name, bits)
    _write_new(private, key.private_pem())
    write_file(public, key.public_pem())
    say(f"wrote {private}: keep a copy where it is safe; git ignores it")
    say(f"wrote {public}: this half may be seen by everyone; commit it")
    say(f'sign with it: signing_key = "{name}" in [modloop] of a release recipe')


def _check(name: str, bits: int) -> None:
    if not NAME.accepts(name) or name.endswith(".rsa"):
        raise RecipeError(
            "doit key --name",
            "is no name for a key",
            expected=f"{NAME.expected}, without .rsa",
            got=repr(name),
            hint="doit key --name site",
        )
    if not LEAST_BITS <= bits <= _MOST_BITS or bits % 256:
        raise RecipeError(
            "doit key --bits",
            "is no length for a key",
            expected=f"a multiple of 256 from {LEAST_BITS} to {_MOST_BITS}",
            got=bits,
            hint="leave it out: the default is enough",
        )


def _generate(name: str, bits: int) -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric import rsa

    numbers = rsa.generate_private_key(_PUBLIC_EXPONENT, bits).private_numbers()
    return SigningKey(name=name, prime_p=numbers.p, prime_q=numbers.q)


def _ignore(path: Path) -> None:
    """Let git ignore private halves, before there is one."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    if _IGNORED not in lines:
        write_file(path, "\n".join([*lines, _IGNORED, ""]).encode())


def _write_new(path: Path, content: bytes) -> None:
    """As write_file with mode 0600, but never over a file that appeared meanwhile."""
    waiting = path.with_name(f".{path.name}.new")
    with replacing_file(waiting, mode=0o600) as partial:
        partial.write_bytes(content)
    try:
        os.link(waiting, path)
    finally:
        waiting.unlink()
