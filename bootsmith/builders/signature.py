"""What a pxerd carries so that machines can verify their modloop.

Alpine 3.9 and newer look below `var/cache/misc` of the initramfs for a signature named after
the modloop and a key, `modloop-lts.SIGN.RSA.site.rsa.pub`, and for that key in
`etc/apk/keys`; both travel to the running system, along with the package openssl, and the
modloop service verifies. The signature is RSA over SHA-1 of the whole modloop (PKCS#1 v1.5).
Source: initramfs-init of alpinelinux/mkinitfs, main/openrc/modloop.initd of aports.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BuildError
from bootsmith.files.atomic import write_file
from bootsmith.files.cache import Cache
from bootsmith.files.modloop_source import reading_input
from bootsmith.files.signing_keys import read_key_pair
from bootsmith.files.stock_initramfs import StockInitramfs
from bootsmith.formats.additions import AddedFile, Additions, write_additions
from bootsmith.formats.initramfs import Member
from bootsmith.formats.release_facts import ReleaseFacts, read_release_facts
from bootsmith.formats.signing_key import SigningKey, is_signature_valid

_SIGNATURES = "var/cache/misc/"
_KEYS = "etc/apk/keys/"
_MARK = ".SIGN.RSA."
_GENERATIONS_WITHOUT = ("G1", "G2", "G2b")


def build_signature(
    *,
    modloop: Path,
    initramfs: Path,
    facts: Path,
    choice: str,
    is_strict: bool,
    private_key: Path | None,
    public_key: Path | None,
    cache: Path,
    output: Path,
) -> None:
    """Write `output`, the Additions that a pxerd made of `initramfs` gets for `modloop`.

    `choice` "auto" keeps a signature of the release's that fits, else signs with
    `private_key` if given, else drops; "own" signs, "drop" drops. `public_key` must be the
    other half. `is_strict`: machines mount nothing else than what verifies.

    Raises SourceError and FormatError for keys, BuildError where machines could not verify.
    """
    release = read_release_facts(facts.read_bytes(), subject=str(facts))
    with reading_input(initramfs):
        members = StockInitramfs(initramfs, Cache(cache)).members()
    stock = _Stock(
        path=initramfs,
        members={member.name: member for member in members if _concerns(member.name)},
    )
    with (
        reading_input(modloop),
        open(modloop, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        memoryview(view) as content,
    ):
        if choice == "auto" and stock.verifies(modloop.name, content):
            additions = Additions(choice="kept")
        elif choice in ("auto", "own") and private_key and public_key:
            key = read_key_pair(private_key, public_key)
            additions = _signed(stock, modloop.name, content, key)
        else:
            additions = _dropped(stock, modloop.name)
    if is_strict and additions.choice == "dropped":
        raise BuildError(
            modloop,
            "has no signature, and strict machines would not mount it",
            hint='make a key with: doit key; then add to [modloop]: signing_key = "site"',
        )
    if is_strict or additions.choice == "signed":
        _check_release(release)
    write_file(output, write_additions(additions))


def _concerns(name: str) -> bool:
    return name.startswith(_KEYS) or (name.startswith(_SIGNATURES) and _MARK in name)


@dataclass(frozen=True, kw_only=True)
class _Stock:
    """Keys and signatures in the release's own initramfs, by name."""

    path: Path
    members: Mapping[str, Member]

    @property
    def signatures(self) -> tuple[str, ...]:
        return tuple(name for name in self.members if name.startswith(_SIGNATURES))

    def verifies(self, name: str, content: memoryview) -> bool:
        """Whether a machine would find a signature of this modloop that fits."""
        for path in self.signatures:
            of, _, key_name = path.removeprefix(_SIGNATURES).partition(_MARK)
            key = self.members.get(_KEYS + key_name)
            if of == name and key is not None and key.target is None:
                signature = bytes(self.members[path].load())
                if is_signature_valid(
                    public_pem=bytes(key.load()), content=content, signature=signature
                ):
                    return True
        return False


def _signed(stock: _Stock, name: str, content: memoryview, key: SigningKey) -> Additions:
    place, public_pem = _KEYS + key.name, key.public_pem()
    there = stock.members.get(place)
    if there is not None and bytes(there.load()) != public_pem:
        raise BuildError(
            stock.path,
            f"trusts another key by the name {key.name}",
            hint="make a key with a name of its own: doit key --name NAME",
        )
    return Additions(
        choice="signed",
        removed=stock.signatures,
        files=(
            AddedFile(path=place, content=public_pem),
            AddedFile(path=f"{_SIGNATURES}{name}{_MARK}{key.name}", content=key.sign_sha1(content)),
        ),
        notes=(f"{name} is signed with {key.name}",),
    )


def _dropped(stock: _Stock, name: str) -> Additions:
    note = (
        f"{name} is not what the release signed: the signature is left out, and machines "
        "mount it unverified; sign it with signing_key in [modloop]"
    )
    notes = (note,) if stock.signatures else ()
    return Additions(choice="dropped", removed=stock.signatures, notes=notes)


def _check_release(release: ReleaseFacts) -> None:
    """Machines of this release know of signatures, and get the program that checks them."""
    if release.generation in _GENERATIONS_WITHOUT:
        raise BuildError(
            f"release {release.release}",
            "its init knows nothing of modloop signatures",
            expected="Alpine 3.9 or newer",
            hint='set signature = "drop" and verify = "stock" in [modloop], or take a newer one',
        )
    pattern = re.compile(rf"apks/{re.escape(release.arch)}/openssl-\d[^/]*\.apk")
    if not any(pattern.fullmatch(file.path) for file in release.files):
        raise BuildError(
            f"release {release.release}",
            "its packages lack openssl, which verifies the modloop on machines",
            expected=f"apks/{release.arch}/openssl-<version>.apk",
            hint="take an ISO that has it (standard or extended), or do not sign: "
            'signature = "drop" in [modloop]',
        )
