"""Kernel words that a release's init or modloop service would not take as they are meant.

Init passes over what it does not know and says nothing, so a machine that was told a wrong word
boots without its overlay, or does not boot. Which words an init knows stands in the script
itself (formats/pxerd_facts); what a word may say goes by its version.

Source of the facts: Alpine mkinitfs initramfs-init.in from 2.7.1 to 3.14.0, openrc
modloop.initd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from bootsmith.formats.pxerd_facts import PxerdFacts

URL_STARTS = ("http://", "https://", "ftp://")
# What an init of some release takes and no kernel: another init does nothing with it.
_OF_INIT = frozenset(
    "alpine_dev alpine_repo alpine_start aoe aoe_iflist aoe_mtu apkovl autodetect "
    "autodetect_serial autoraid bootstrap_usr_merged chart cryptdiscards cryptdm "
    "cryptheader cryptkey cryptoffset cryptroot ds init_args keep_apk_new keymap memdisk nbd "
    "overlaytmpfs overlaytmpfsflags "
    "ovl_dev pkgs root_size splash ssh_key tinycloud usbdelay usrflags wireguard".split()
)
_OF_SERVICES = ("modloop", "modloop_verify")
# So like a word of init that they would be taken for a slip, and known to the kernel.
_OF_KERNELS = frozenset(("initrd", "rdinit", "noinitrd", "noresume", "modules_load"))
_LEAST_ALIKE = 0.8
_LEAST_LETTERS = 5
_IP_FORM = re.compile(r"dhcp|off|none|[^:]*(?::[^:]*){3,9}")
_IGNORES_MEDIA = (3,)  # from 3.0.0 on, media are searched for, not named
_TAKES_DEVICE_AGAIN = (3, 12)
_TAKES_REPOSITORIES = (3, 10)
_LEAVE_OUT = "leave it out, or use a release whose init knows it"


class WrongWord(NamedTuple):
    """A word, what is wrong with it, and what to do."""

    word: str
    problem: str
    hint: str
    expected: str | None = None


def wrong_words(words: Sequence[str], init: PxerdFacts) -> Iterator[WrongWord]:
    """The words among `words` that this init would not take as they are meant."""
    known = init.options
    for word in words:
        name, equals, value = word.partition("=")
        if name in _CHECKS and equals:
            yield from _CHECKS[name](word, value, init)
        if known and name in _OF_INIT - {"alpine_dev"} and name not in known:
            yield WrongWord(word, f"means nothing to init {init.init_version}", _LEAVE_OUT)
        elif name == "modloop_verify" and not equals:
            yield WrongWord(
                word, "does nothing without a value", "write modloop_verify=no", "modloop_verify=no"
            )
        elif known and name not in known and (meant := _meant(name, known)) is not None:
            yield WrongWord(
                word,
                "is known to neither init nor the modloop service",
                "correct it, or leave it out",
                f"{meant}{equals}",
            )


@cache
def _meant(name: str, known: tuple[str, ...]) -> str | None:
    """The word that `name` is a slip of, if it looks like one."""
    words = (*known, *_OF_SERVICES)
    bare = name.removeprefix("no")
    if (
        len(name) < _LEAST_LETTERS
        or "." in name
        or name in _OF_KERNELS
        or {name, bare} & {*words, *_OF_INIT}
    ):
        return None
    return next(iter(get_close_matches(name, words, n=1, cutoff=_LEAST_ALIKE)), None)


def _alpine_dev(word: str, value: str, init: PxerdFacts) -> Iterator[WrongWord]:
    if not value.startswith("nfs:"):
        if init.init_numbers >= _IGNORES_MEDIA:
            yield WrongWord(word, f"is ignored by init {init.init_version}", _LEAVE_OUT)
        return
    if not init.mounts_nfs:
        version = f" {init.init_version}" if init.init_version else ""
        yield WrongWord(
            word,
            f"cannot be: init{version} mounts no NFS medium, and is not patched to",
            'add "nfs" to the features of [pxerd] in the release recipe; patches = [] leaves '
            "its patch nfs-medium out",
        )
    parts = value.split(":")
    if not 3 <= len(parts) <= 4 or not parts[1] or not parts[2].startswith("/"):
        yield WrongWord(
            word,
            "names no NFS medium",
            "correct it in the recipe that says it",
            "alpine_dev=nfs:SERVER:/EXPORT[:OPTIONS]",
        )


def _apkovl(word: str, value: str, init: PxerdFacts) -> Iterator[WrongWord]:
    yield from _https(word, value, init)
    if value.startswith(URL_STARTS) or ":" not in value or not init.init_numbers:
        return
    has_device = value.startswith("/dev/")
    if init.init_numbers < _IGNORES_MEDIA:
        expected = None if not has_device else "DEVICE:/path without /dev/, a URL, or a path"
    elif init.init_numbers < _TAKES_DEVICE_AGAIN:
        expected = "a URL, or a path in the initramfs such as /media/sda1/web.apkovl.tar.gz"
    else:
        expected = None if has_device else "/dev/DEVICE:/path, a URL, or a path"
    if expected is not None:
        yield WrongWord(
            word,
            f"is no form of apkovl= that init {init.init_version} takes",
            "correct it in the recipe that says it",
            expected,
        )


def _alpine_repo(word: str, value: str, init: PxerdFacts) -> Iterator[WrongWord]:
    yield from _https(word, value, init)
    if "," in value and () < init.init_numbers < _TAKES_REPOSITORIES:
        yield WrongWord(
            word,
            f"is taken for one name by init {init.init_version}",
            "name one repository; others can stand in etc/apk/repositories of an overlay",
            "one repository",
        )


def _ip(word: str, value: str, init: PxerdFacts) -> Iterator[WrongWord]:
    if not _IP_FORM.fullmatch(value):
        yield WrongWord(
            word,
            "is no form of ip= that init takes",
            "correct it in the recipe that says it",
            "ip=dhcp, or client:server:gateway:netmask:host:device:...",
        )


def _modloop(word: str, value: str, init: PxerdFacts) -> Iterator[WrongWord]:
    if value.startswith(URL_STARTS) and () < init.init_numbers < _IGNORES_MEDIA:
        yield WrongWord(
            word,
            f"is a URL, which the modloop service of releases with init {init.init_version} "
            "does not take",
            'write media = "nfs" in [netboot] of the template',
            "a path on the boot medium",
        )


def _https(word: str, value: str, init: PxerdFacts) -> Iterator[WrongWord]:
    if "https://" in value and "usr/bin/ssl_client" not in init.files:
        yield WrongWord(
            word,
            "cannot be loaded: the pxerd has no usr/bin/ssl_client",
            'add "https" to the features of [pxerd] in the release recipe, or use http://',
        )


_CHECKS = {
    "alpine_dev": _alpine_dev,
    "alpine_repo": _alpine_repo,
    "apkovl": _apkovl,
    "ip": _ip,
    "modloop": _modloop,
}
