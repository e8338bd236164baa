"""What network boot configurations name, read back from the texts that machines will read.

PXELINUX files, iPXE scripts and GRUB files, as far as ours and plain ones of other people use
their languages. Names stay as they are written, variables (`${netX/mac}`, `$name`) and all.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bootsmith.errors import FormatError
from bootsmith.formats.ipxe_script import BOOT_SCRIPT
from bootsmith.formats.netboot_names import GRUB, IPXE, PXELINUX

_IPXE_OPERATORS = re.compile(r"\s(?:\|\||&&|;)(?:\s|$)")
_IPXE_FETCHING = ("chain", "imgfetch", "module", "imgload", "imgexec")
_HINT = "build it again: doit netboot"


@dataclass(kw_only=True)
class NamedBoot:
    """One thing that is booted: names of kernel and initramfs images, and the kernel's words."""

    kernel: str = ""
    initrds: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    line: int
    """Where the words stand, counted from 1; the kernel, if it has none."""

    @property
    def files(self) -> tuple[str, ...]:
        """What the loader asks a server for."""
        return (self.kernel, *self.initrds)

    def option(self, name: str) -> str | None:
        """The value of the last `name=value`, which is the one that counts; None without one."""
        values = [word.partition("=")[2] for word in self.options if word.startswith(f"{name}=")]
        return values[-1] if values else None


@dataclass(kw_only=True)
class NamedFiles:
    """What one configuration names."""

    boots: list[NamedBoot] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Further configurations and programs of the loader."""
    lines: dict[str, int] = field(default_factory=dict)
    """Where each name of a file stands first, counted from 1."""
    missing_labels: list[str] = field(default_factory=list)
    """PXELINUX: what DEFAULT or ONTIMEOUT name and no LABEL is."""
    longest_line: str = ""
    """PXELINUX: the line that comes nearest to its limit."""

    def add_boot(self, line: int, kernel: str, options: Sequence[str] = ()) -> None:
        """A kernel that is loaded; initramfs images may follow."""
        self.boots.append(NamedBoot(kernel=kernel, options=tuple(options), line=line))
        self.lines.setdefault(kernel, line)

    def add_initrds(self, line: int, names: Sequence[str]) -> None:
        """Images for the last kernel."""
        self.boots[-1].initrds += tuple(names)
        self._take_note(line, names)

    def add_other(self, line: int, name: str) -> None:
        """What is neither."""
        self.others.append(name)
        self._take_note(line, [name])

    def set_options(self, line: int, options: Sequence[str]) -> None:
        """The words of the last kernel."""
        self.boots[-1].options = tuple(options)
        self.boots[-1].line = line

    def _take_note(self, line: int, names: Sequence[str]) -> None:
        for name in names:
            self.lines.setdefault(name, line)


def loader_of(path: str) -> str | None:
    """The directory of the loader that reads this path of a netboot tree as its configuration."""
    if path == BOOT_SCRIPT:
        return IPXE
    return next((one for one in (PXELINUX, IPXE, GRUB) if path.startswith(f"{one}/")), None)


def read_named_files(loader: str, text: str, *, subject: object) -> NamedFiles:
    """What a configuration of the loader with this directory names.

    FormatError for a text that the loader would not take.
    """
    if loader == PXELINUX:
        return _read_pxelinux(text)
    return (_read_ipxe if loader == IPXE else _read_grub)(text, subject)


def _read_pxelinux(text: str) -> NamedFiles:
    """Includes are not followed, so that labels may be in one of them."""
    found = NamedFiles(longest_line=max(text.splitlines(), key=len, default=""))
    labels: set[str] = set()
    wanted: list[str] = []
    is_booting = includes = False
    for number, line in enumerate(text.splitlines(), 1):
        word, _, rest = line.strip().partition(" ")
        word, rest = word.lower(), rest.strip()
        if word == "label":
            labels.add(rest.lower())
            is_booting = False
        elif word in ("kernel", "linux"):
            found.add_boot(number, rest)
            is_booting = True
        elif word == "initrd" and is_booting:
            found.add_initrds(number, [name for name in rest.split(",") if name])
        elif word == "append" and is_booting:
            found.set_options(number, rest.split())
        elif word in ("include", "com32", "config"):
            found.add_other(number, rest.split(" ")[0])
            includes = includes or word == "include"
        elif word in ("default", "ontimeout"):
            wanted.append(rest.split(" ")[0])
    if not includes:
        found.missing_labels = [label for label in wanted if label.lower() not in labels]
    return found


def _read_ipxe(text: str, subject: object) -> NamedFiles:
    if not text.startswith("#!ipxe\n"):
        raise FormatError(
            subject, "is no iPXE script", expected="#!ipxe in its first line", hint=_HINT
        )
    found = NamedFiles()
    images: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        for command in _IPXE_OPERATORS.split(line):
            words = command.split()
            if not words or words[0].startswith(("#", ":")):
                continue
            name, operands = _ipxe_operands(words[1:])
            if name is not None:
                images.add(name)
            if not operands:
                continue
            if words[0] == "kernel":
                found.add_boot(number, operands[0], operands[1:])
            elif words[0] == "initrd" and found.boots:
                found.add_initrds(number, operands[:1])
            elif words[0] == "imgargs" and found.boots:
                found.set_options(number, operands[1:])
            elif words[0] in _IPXE_FETCHING and operands[0] not in images:
                found.add_other(number, operands[0])
    return found


def _ipxe_operands(words: list[str]) -> tuple[str | None, list[str]]:
    """The value of `--name`, and what is no option."""
    name: str | None = None
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if not operands and word in ("--name", "-n"):
            name = next(rest, None)
        elif operands or not word.startswith("-"):
            operands.append(word)
    return name, operands


def _read_grub(text: str, subject: object) -> NamedFiles:
    found = NamedFiles()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            commands = list(_grub_commands(line))
        except ValueError:
            raise FormatError(
                subject, f"line {number} has quotes that do not end", got=line[:80], hint=_HINT
            ) from None
        for verb, *words in commands:
            if not words:
                continue
            if verb == "linux":
                found.add_boot(number, words[0], words[1:])
            elif verb == "initrd" and found.boots:
                found.add_initrds(number, words)
            elif verb in ("source", "configfile", "."):
                found.add_other(number, words[0])
    return found


def _grub_commands(line: str) -> Iterator[list[str]]:
    """Each simple command of a line, without the keywords around it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    command: list[str] = []
    for word in [*lexer, ";"]:
        if word.strip(";"):
            command.append(word)
            continue
        while command and command[0] in ("if", "then", "else", "elif", "do", "while", "!"):
            command.pop(0)
        if command:
            yield command
        command = []
