"""WHAT this site builds: the models that recipes fill.

Every key of every recipe is declared here once; the loader, the error messages and
docs/recipes.md all follow from these declarations.
"""

from __future__ import annotations

from pathlib import Path

from bootsmith.site.schema import (
    Choice,
    Digest,
    FilePath,
    Flag,
    ListOf,
    Model,
    Size,
    Table,
    TableOf,
    Tenths,
    Text,
    Whole,
    given,
    key,
    word_of,
)

_DIGITS = "0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()
_LETTERS = _LOWER + _UPPER + _DIGITS
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_OPERATOR = "<>=~"


def package_name(constraint: str) -> str:
    """The name that a package constraint is about: up to a version or repository tag."""
    name = constraint.removeprefix("!").partition("@")[0]
    for letter in _OPERATOR:
        name = name.partition(letter)[0]
    return name


def _is_package(text: str) -> bool:
    """`name`, then optionally operator and version, then optionally a tag; "!" forbids."""
    constraint, at, tag = text.removeprefix("!").partition("@")
    name = package_name(text)
    version = constraint[len(name) :].lstrip(_OPERATOR)
    operator = constraint[len(name) : len(constraint) - len(version)]
    return (
        _package_word(name)
        and (not constraint[len(name) :] or (operator in _OPERATORS and _package_word(version)))
        and (not at or _package_word(tag))
    )


_OPERATORS = {"=", "<", ">", "<=", ">=", "~", "=~", "~="}
_package_word = word_of(f"{_LETTERS}_.+:-~", first=f"{_LETTERS}_.", most=128)
_label = word_of(f"{_LOWER}{_DIGITS}-", most=63)


def _is_hostname(text: str) -> bool:
    """RFC 1123 labels, lower case; Linux keeps 64 characters."""
    return len(text) <= 64 and all(
        _label(label) and label[0] != "-" and label[-1] != "-" for label in text.split(".")
    )


def _is_url(text: str) -> bool:
    scheme, separator, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    return (
        scheme in {"http", "https"}
        and all((separator, host, slash, path))
        and not set(host) & set("?#")
        and "#" not in path
        and not text.strip(_PRINTABLE)
    )


def _is_sentence(text: str) -> bool:
    return 0 < len(text) <= 200 and text.isprintable() and text == text.strip()


# A name becomes part of file names (on FAT too, which knows no case), step names and
# kernel words. A flavor has no dash, so `<release>-<flavor>` reads one way only.
NAME = Text(
    word_of(f"{_LOWER}{_DIGITS}._-", first=_LOWER + _DIGITS, most=63),
    "a name of lower-case letters, digits, dots, dashes and underscores",
)
FLAVOR = Text(
    word_of(f"{_LOWER}{_DIGITS}_", most=32), 'a flavor like "lts": lower-case letters and digits'
)
SERVICE = Text(
    word_of(f"{_LETTERS}_.@+-", first=f"{_LETTERS}_", most=64), "the name of an OpenRC service"
)
KERNEL_WORD = Text(
    word_of(_PRINTABLE.replace('"', "").replace("'", ""), most=255),
    "one word of printable ASCII, without blanks or quotes",
)
SENTENCE = Text(_is_sentence, "one line of text, at most 200 characters")
PACKAGE = Text(_is_package, 'a package as apk takes it, like "nginx", "nginx>1.26" or "!mdev"')
HOSTNAME = Text(_is_hostname, "a host name of lower-case letters, digits, inner dashes and dots")
URL = Text(_is_url, "an http:// or https:// URL of a file")
LABEL = Text(
    word_of(f"{_UPPER}{_DIGITS}_-", most=11),
    "1 to 11 upper-case letters, digits, dashes or underscores",
)
DEFAULT_FEATURES = ("dhcp", "network", "nfs", "squashfs", "virtio", "usb")
RUNLEVELS = {
    "sysinit": "services that bring up devices, before everything else",
    "boot": "services that every machine needs, like networking",
    "default": "what this machine is for",
    "shutdown": "services that run when the machine goes down",
}
# Lowest and highest compression level that formats/compression writes.
COMPRESSION_LEVELS = {"gzip": (1, 12), "xz": (0, 9), "zstd": (1, 19)}


class PxerdSettings(Model):
    """What is added to a stock initramfs, and how the result is packed."""

    features: tuple[str, ...] = key(
        ListOf(NAME, of="features"),
        about="Features added to the stock initramfs: names of files in the feature directories.",
        default=DEFAULT_FEATURES,
    )
    compression: str = key(
        Choice("auto", "gzip", "xz", "zstd", "none"),
        about="How the pxerd is compressed; `auto` asks the release's kernel what it can unpack.",
        default="auto",
    )
    level: int | None = key(
        Whole(0, 19),
        about="Compression level: gzip 1 to 12, xz 0 to 9, zstd 1 to 19. Needs a `compression`.",
        default=None,
        shown_default="chosen by the codec",
    )


class ModloopSettings(Model):
    """Changes to the stock modloop. There are none to ask for yet: it is passed through."""


class Release(Model):
    """One Alpine (or stand-in) source. `kind` "iso" has either `iso` or `url`."""

    name: str = key(
        NAME,
        about="Name of the release in file names, steps and templates.",
        default="",
        shown_default="the file's name without `.toml`",
    )
    kind: str = key(
        Choice("iso", "standin"),
        about="`iso` reads a release from `iso` or `url`; `standin` assembles one from Debian.",
        default="iso",
    )
    iso: Path | None = key(
        FilePath(beside=False),
        about="A release ISO on this machine. It need not exist until something is built from it.",
        default=None,
    )
    url: str | None = key(
        URL,
        about="Where to download the ISO. Needs `sha256` or `sha512`.",
        default=None,
    )
    sha256: str | None = key(
        Digest(64),
        about="Digest of the ISO, as in Alpine's `.sha256` file.",
        default=None,
    )
    sha512: str | None = key(
        Digest(128),
        about="Digest of the ISO, as in Alpine's `.sha512` file.",
        default=None,
    )
    checksum_url: str | None = key(
        URL,
        about="Alpine's checksum file beside the ISO; must agree with the digest given here.",
        default=None,
    )
    signature_url: str | None = key(
        URL,
        about="Alpine's `.asc` file beside the ISO. Needs `keyring`.",
        default=None,
    )
    keyring: Path | None = key(
        FilePath(beside=False),
        about="Keyring file with the key that must have signed the ISO. Needs `signature_url`.",
        default=None,
    )
    lock: Path | None = key(
        FilePath(beside=True),
        about="Lock file of a stand-in: which package versions it is made of. Written by a build.",
        default=None,
    )
    flavors: tuple[str, ...] = key(
        ListOf(FLAVOR, of="flavors"),
        about="Kernel variants of the release that are built here.",
        example='["virt", "lts"]',
    )
    pxerd: PxerdSettings = key(
        Table(PxerdSettings),
        about="The initramfs made for network boot.",
        default=PxerdSettings(),
    )
    modloop: ModloopSettings = key(
        Table(ModloopSettings),
        about="Changes to the stock modloop. No keys yet: it is passed through untouched.",
        default=ModloopSettings(),
    )


class BootSettings(Model):
    """How a machine of this template starts from its key."""

    initramfs: str = key(
        Choice("pxerd", "stock"),
        about="`pxerd` boots the extended initramfs, `stock` the release's own.",
        default="pxerd",
    )
    options: tuple[str, ...] = key(
        ListOf(KERNEL_WORD, of="kernel words", may_be_empty=True),
        about="Words added to the kernel command line, like `quiet` or `usbdelay=5`.",
        default=(),
    )
    timeout_seconds: float = key(
        Tenths(),
        about="How long the boot loader waits for a key press.",
        default=1,
    )
    serial: bool = key(
        Flag(),
        about="Boot loader, kernel and a login also on the first serial port, 115200 baud.",
        default=True,
    )


class UsbkeySettings(Model):
    """The image that is written to a USB stick."""

    size_bytes: int | None = key(
        Size(),
        about="Size of the image; `auto` fits it to its content. Units are powers of 1024.",
        default=None,
        shown_default='"auto"',
        spelled="size",
    )
    label: str = key(
        LABEL,
        about="Volume label of the FAT file system.",
        default="BOOTSMITH",
    )
    firmware: tuple[str, ...] = key(
        ListOf(Choice("bios", "uefi"), of="kinds of firmware"),
        about="Firmware that the key starts from.",
        default=("bios", "uefi"),
    )


class Overlay(Model):
    """One tree under overlays/, with its ownership file if it has one."""

    name: str = given()
    tree: Path = given()
    owners: Path | None = given()


class Template(Model):
    """A role of machine."""

    name: str = key(
        NAME,
        about="Name of the template; its apkovl and its key are called like this.",
        default="",
        shown_default="the file's name without `.toml`",
    )
    summary: str = key(
        SENTENCE,
        about="What machines of this template do, in one line.",
        example='"what these machines do"',
    )
    release: str = key(
        NAME,
        about="The release that these machines run.",
        default="",
        shown_default="`release` of site.toml",
    )
    flavor: str = key(
        FLAVOR,
        about="The kernel that these machines run; one of the release's flavors.",
        default="",
        shown_default="`flavor` of site.toml",
    )
    hostname: str = key(
        HOSTNAME,
        about="Goes into `etc/hostname`.",
        default="",
        shown_default="the template's name",
    )
    overlays: tuple[Overlay, ...] = key(
        ListOf(NAME, of="overlays"),
        about="Trees under `overlays/`, later ones over earlier ones.",
        example='["base", "report"]',
    )
    packages: tuple[str, ...] = key(
        ListOf(PACKAGE, of="packages", may_be_empty=True, sameness=package_name),
        about="Goes into `etc/apk/world`, besides `alpine-base`.",
        default=(),
    )
    runlevels: dict[str, tuple[str, ...]] = key(
        TableOf(RUNLEVELS, ListOf(SERVICE, of="services", may_be_empty=True)),
        about="Services started in each OpenRC runlevel.",
        default={},
    )
    default_boot_services: bool = key(
        Flag(),
        about=(
            "Let init add Alpine's stock services (devices, modules, modloop, syslog ...). "
            "With `false`, `[runlevels]` must name all of them."
        ),
        default=True,
    )
    boot: BootSettings = key(
        Table(BootSettings), about="How these machines start.", default=BootSettings()
    )
    usbkey: UsbkeySettings = key(
        Table(UsbkeySettings), about="The key image.", default=UsbkeySettings()
    )


class GenerationSettings(Model):
    """When a new generation becomes `current`, and how many are kept."""

    gate: str = key(
        Choice("checks"),
        about="What a generation must pass to become `current`: `checks` re-hashes every file.",
        default="checks",
    )
    keep: int = key(
        Whole(1, 1000),
        about="How many generations pruning will keep. This version removes none by itself.",
        default=5,
    )


class SmokeSettings(Model):
    """The virtual machines that prove a boot."""

    memory_mebibytes: int = key(
        Whole(128, 65536), about="Memory of a test machine, in MiB.", default=512
    )
    accel: str = key(
        Choice("auto", "kvm", "tcg"),
        about="`auto` uses KVM only where it was seen to run a guest.",
        default="auto",
    )


class SiteSettings(Model):
    """recipes/site.toml."""

    schema: int = key(
        Whole(1, 1),
        about="Version of this format.",
        example="1",
    )
    name: str = key(NAME, about="Name of the site; stands in every manifest.", example='"lab"')
    release: str = key(NAME, about="Release of templates that name none.", example='"standin"')
    flavor: str = key(FLAVOR, about="Flavor of templates that name none.", example='"lts"')
    generation: GenerationSettings = key(
        Table(GenerationSettings), about="Generations.", default=GenerationSettings()
    )
    smoke: SmokeSettings = key(Table(SmokeSettings), about="Smoke tests.", default=SmokeSettings())


class Site(Model):
    """Everything that recipes/ and overlays/ ask for, checked. Mappings are by name, sorted."""

    root: Path = given()
    name: str = given()
    release: str = given()
    flavor: str = given()
    generation: GenerationSettings = given()
    smoke: SmokeSettings = given()
    releases: dict[str, Release] = given()
    templates: dict[str, Template] = given()
    overlays: dict[str, Overlay] = given()
    feature_directories: tuple[Path, ...] = given()
    recipe_files: tuple[Path, ...] = given()
