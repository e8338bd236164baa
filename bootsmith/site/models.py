"""WHAT this site builds: the models that recipes fill.

Every key of every recipe is declared here once; the loader, the error messages and
docs/recipes.md all follow from these declarations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bootsmith.formats.ipv4 import parse_ipv4, parse_subnet
from bootsmith.site.scenarios import SCENARIOS, Bootable
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
    TablesOf,
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
# Behind a name of 63 characters and a dot, 253 in all.
_DOMAIN_CHARACTERS = 189
_ssh_word = word_of(f"{_LETTERS}._-", first=_LETTERS, most=190)


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


def _is_domain(text: str) -> bool:
    return len(text) <= _DOMAIN_CHARACTERS and all(
        _label(label) and label[0] != "-" and label[-1] != "-" for label in text.split(".")
    )


def _is_subnet(text: str) -> bool:
    subnet = parse_subnet(text)
    return subnet is not None and 8 <= subnet.bits <= 30


def _is_served_directory(text: str) -> bool:
    """Server configurations of many kinds name it, each with words of its own for blanks."""
    parts = text[1:].split("/")
    return (
        text[:1] == "/"
        and len(text) <= 200
        and not text.strip(f"{_LETTERS}/._-")
        and not {"", ".", ".."} & set(parts)
    )


def _is_published_directory(text: str) -> bool:
    return _is_served_directory(text if text[:1] == "/" else f"/{text}")


def _file_name(path: str | Path) -> str:
    return str(path).rpartition("/")[2]


def _is_ssh_target(text: str) -> bool:
    """`[user@]host:/directory`; a word that begins with a dash would be an option of ssh."""
    login, colon, directory = text.partition(":")
    user, _, host = login.rpartition("@")
    return (
        bool(colon)
        and _is_served_directory(directory)
        and _ssh_word(host)
        and (_ssh_word(user) if "@" in login else True)
    )


def _is_power_command(text: str) -> bool:
    """The first word is a program; braces hold what is known of a machine."""
    bare = text
    for name in ("management", "address", "name", "mac"):
        bare = bare.replace(f"{{{name}}}", "x")
    return (
        0 < len(text) <= 1000
        and text == " ".join(text.split())
        and not bare.strip(f"{_PRINTABLE} ")
        and not set(bare) & {"{", "}", "\\", '"', "'"}
        and text[0] not in "{-"
    )


def _is_module_glob(text: str) -> bool:
    parts = text.strip("/").split("/")
    return 0 < len(text) <= 255 and not text.strip(_PRINTABLE) and not {"", ".", ".."} & set(parts)


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
MODULE_GLOB = Text(
    _is_module_glob, 'a glob like "kernel/drivers/gpu", "kernel/fs/*fs*" or "firmware/amdgpu"'
)
MODULE = Text(
    word_of(f"{_LETTERS}_-", most=64), 'a feature like "virtio" or a module like "virtio_net"'
)
LOADER_MODULE = Text(
    word_of(f"{_LOWER}{_DIGITS}_", most=32), 'a module of PXELINUX like "menu", without ".c32"'
)
INIT = Text(
    lambda text: text == "auto" or (text[:1] == "/" and _is_module_glob(text)),
    '"auto", or the absolute path of a program in the image',
)
FILE_GLOB = Text(
    lambda text: text[:1] != "/" and _is_module_glob(text),
    'a glob like "boot/*" or "var/cache/apt/archives", without a leading slash',
)
LABEL = Text(
    word_of(f"{_UPPER}{_DIGITS}_-", most=11),
    "1 to 11 upper-case letters, digits, dashes or underscores",
)
IPV4 = Text(lambda text: parse_ipv4(text) is not None, 'an IPv4 address like "10.20.0.7"')
SUBNET = Text(_is_subnet, 'a subnet like "10.20.0.0/16", /8 to /30, zeros behind its prefix')
INTERFACE = Text(
    word_of(f"{_LETTERS}._-", first=_LETTERS, most=15),
    'a network interface like "eth1", at most 15 characters',
)
DOMAIN = Text(_is_domain, 'a DNS domain like "boot.example" in lower case')
SERVED_DIRECTORY = Text(
    _is_served_directory,
    "an absolute path of letters, digits, dots, dashes and underscores, without `..`",
)
PUBLISHED_DIRECTORY = Text(
    _is_published_directory,
    "a path, absolute or relative to the site, of letters, digits, dots, dashes and underscores, "
    "without `..`",
)
SSH_TARGET = Text(_is_ssh_target, 'a place like "user@host:/srv/boot"')
POWER_COMMAND = Text(
    _is_power_command,
    'a command like "ipmitool -H {management} chassis power cycle", without quotes; in braces '
    "management, address, name or mac",
)
NOTHING = "none"
"""The word for no installer, where a level before names one."""
DEFAULT_FEATURES = ("dhcp", "network", "nfs", "squashfs", "virtio", "usb")
RUNLEVELS = {
    "sysinit": "services that bring up devices, before everything else",
    "boot": "services that every machine needs, like networking",
    "default": "what this machine is for",
    "shutdown": "services that run when the machine goes down",
}
# As formats.inventory has them, which costs too much to import for every `doit list`.
BOOTS = ("template", "disk")
BIOS_LOADERS = ("pxelinux", "lpxelinux", "ipxe")
UEFI_LOADERS = ("ipxe", "grub")
MEDIA = ("http", "nfs")
# Lowest and highest compression level that formats/compression writes.
COMPRESSION_LEVELS = {"gzip": (1, 12), "xz": (0, 9), "zstd": (1, 19)}


class PxerdAdditions(Model):
    """What the pxerd of one flavor has of its own, added to what `[pxerd]` says for all."""

    features: tuple[str, ...] = key(
        ListOf(NAME, of="features", may_be_empty=True),
        about="Features of this flavor, besides those for all.",
        default=(),
    )


class PxerdSettings(Model):
    """What is added to a stock initramfs, and how the result is packed."""

    features: tuple[str, ...] = key(
        ListOf(NAME, of="features"),
        about="Features added to the stock initramfs: names of files in the feature directories.",
        default=DEFAULT_FEATURES,
    )
    patches: tuple[str, ...] = key(
        ListOf(NAME, of="patches", may_be_empty=True),
        about=(
            "Patches to the release's init: names of files in `recipes/patches`. `auto` stands "
            "for those that the features want, like `nfs-medium` for `nfs`."
        ),
        default=("auto",),
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
    output: str = key(
        Choice("whole", "appended"),
        about=(
            "`whole` packs one tree anew; `appended` leaves the release's initramfs as it is, "
            "byte by byte, and puts archives with what is new behind it."
        ),
        default="whole",
    )
    flavor: dict[str, PxerdAdditions] = key(
        TablesOf(FLAVOR, PxerdAdditions),
        about="Additions for one flavor: what its kernel has and the others have not.",
        default={},
    )

    def features_of(self, *flavors: str) -> tuple[str, ...]:
        """What the pxerds of these flavors have, each feature once."""
        own = [self.flavor[name].features for name in flavors if name in self.flavor]
        return tuple(dict.fromkeys((*self.features, *(name for one in own for name in one))))


_MODLOOP_ADD: Any = key(
    ListOf(FilePath(beside=False), of="sources", may_be_empty=True),
    about=(
        "Modules and firmware to add: directories, archives, `.apk` packages or single modules. "
        "Later ones win over earlier ones, and all over the stock."
    ),
    default=(),
)
_MODLOOP_KEEP: Any = key(
    ListOf(MODULE_GLOB, of="globs", may_be_empty=True),
    about="If set, only these stay, with all that they need. `firmware/...` names firmware.",
    default=(),
)
_MODLOOP_DROP: Any = key(
    ListOf(MODULE_GLOB, of="globs", may_be_empty=True),
    about="What to leave out. A module that another one needs cannot be left out alone.",
    default=(),
)


class ModloopChanges(Model):
    """What one flavor has of its own, added to what `[modloop]` says for all."""

    add: tuple[Path, ...] = _MODLOOP_ADD
    keep: tuple[str, ...] = _MODLOOP_KEEP
    drop: tuple[str, ...] = _MODLOOP_DROP


class ModloopSettings(Model):
    """Changes to the stock modloop; with none it is passed through untouched."""

    add: tuple[Path, ...] = _MODLOOP_ADD
    keep: tuple[str, ...] = _MODLOOP_KEEP
    drop: tuple[str, ...] = _MODLOOP_DROP
    compression: str = key(
        Choice("stock", "gzip", "xz", "zstd"),
        about="`stock` keeps what is compressed as it is; another codec packs all of it again.",
        default="stock",
    )
    signature: str = key(
        Choice("auto", "own", "drop", "unverified", "rename"),
        about=(
            "What machines check the modloop against. `auto` keeps Alpine's signature where it "
            "still fits, else signs with `signing_key` if there is one, else drops it; `own` "
            "signs, `drop` drops; `unverified` boots with `modloop_verify=no`; `rename` calls a "
            "changed modloop `modloop-FLAVOR-changed`, for which there is no signature."
        ),
        default="auto",
    )
    signing_key: str | None = key(
        NAME,
        about="The key that signs: the name of one in `recipes/keys`, made by `doit key`.",
        default=None,
    )
    verify: str = key(
        Choice("stock", "strict"),
        about=(
            "`strict` mounts no modloop whose signature is missing or does not fit; Alpine's own "
            "service says so and mounts it. For Alpine 3.9 and newer."
        ),
        default="stock",
    )
    patches: tuple[str, ...] = key(
        ListOf(NAME, of="patches", may_be_empty=True),
        about=(
            "Patches to the release's modloop service, carried by apkovls: names of files in "
            "`recipes/patches`. `auto` stands for those that features of the pxerd want."
        ),
        default=(),
    )
    flavor: dict[str, ModloopChanges] = key(
        TablesOf(FLAVOR, ModloopChanges),
        about="Changes for one flavor, besides those for all: modules are built for one kernel.",
        default={},
    )

    def is_changed(self, flavor: str) -> bool:
        """True where the recipe asks for another modloop than the release's own."""
        own = self.flavor.get(flavor, ModloopChanges())
        lists = (self.add, self.keep, self.drop, own.add, own.keep, own.drop)
        return self.compression != "stock" or any(lists)


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
        about="Changes to the stock modloop. With none it is passed through, byte by byte.",
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


_INHERITED = "what the site says"
_ROLE_KEYS: dict[str, tuple[Any, str, str]] = {
    "boot": (
        Choice(*BOOTS),
        "`template` boots what the template says; `disk` hands on to the machine's own disk.",
        "`template`",
    ),
    "install": (
        NAME,
        "The installer, or template, that machines boot once while armed (`doit arm`); `none` "
        "for none.",
        "none",
    ),
    "loader": (Choice(*BIOS_LOADERS), "What BIOS machines load first.", "`pxelinux`"),
    "uefi_loader": (Choice(*UEFI_LOADERS), "What UEFI machines load first.", "`ipxe`"),
    "media": (
        Choice(*MEDIA),
        "Where packages and modloop come from. `nfs` needs a release whose pxerd has the "
        "feature `nfs`.",
        "`http`",
    ),
    "options": (
        ListOf(KERNEL_WORD, of="kernel words", may_be_empty=True),
        "Kernel words, added to those of the levels before.",
        "none",
    ),
}
ROLE_KEYS = tuple(_ROLE_KEYS)
"""What every level of inheritance may say about how machines boot."""


def role_key(name: str, *, shown_default: str | None = None) -> Any:
    """One of ROLE_KEYS as a field; None (or no words) where nothing is said."""
    check, about, at_last = _ROLE_KEYS[name]
    return key(
        check,
        about=about,
        default=() if name == "options" else None,
        shown_default=shown_default or at_last,
    )


class NetbootSettings(Model):
    """The network that machines boot in, and what all of them do unless told otherwise."""

    server: str = key(
        IPV4,
        about="Address of the head node, which serves DHCP, TFTP, HTTP and NFS.",
        example='"10.20.0.1"',
    )
    subnet: str = key(
        SUBNET, about="The subnet of the head node and its machines.", example='"10.20.0.0/16"'
    )
    interface: str = key(
        INTERFACE,
        about="The head node's interface in that subnet; nothing is served on others.",
        example='"eth1"',
    )
    root: str = key(
        SERVED_DIRECTORY,
        about="Directory on the head node that holds `generations/` and `current`.",
        default="/srv/boot",
    )
    domain: str = key(DOMAIN, about="DNS domain of the hosts.", example='"boot.example"')
    pool: tuple[str, ...] | None = key(
        ListOf(IPV4, of="addresses"),
        about="First and last address for machines that have none of their own.",
        default=None,
        shown_default="unknown machines get no address",
    )
    gateway: str | None = key(
        IPV4, about="Default route of machines.", default=None, shown_default="no route"
    )
    dns: tuple[str, ...] = key(
        ListOf(IPV4, of="addresses", may_be_empty=True),
        about="Name servers of machines.",
        default=(),
        shown_default="the head node",
    )
    http_port: int = key(Whole(1, 65535), about="Port of the HTTP server.", default=80)
    lease_seconds: int = key(
        Whole(120, 31_536_000), about="How long machines may keep an address.", default=3600
    )
    modules: tuple[str, ...] = key(
        ListOf(LOADER_MODULE, of="modules", may_be_empty=True),
        about=(
            "Modules of PXELINUX to publish, for someone at its prompt, besides those that it "
            "needs itself."
        ),
        default=(),
    )
    power: str | None = key(
        POWER_COMMAND,
        about=(
            "The command by which `doit arm --power` power cycles a machine: words with blanks "
            "between them, no shell. `{management}`, `{address}`, `{name}` and `{mac}` stand for "
            "what the machine has."
        ),
        default=None,
    )
    template: str = key(
        NAME,
        about="Template of machines that neither the inventory nor a MAC prefix knows.",
        example='"default"',
    )
    boot: str | None = role_key("boot")
    install: str | None = role_key("install")
    loader: str | None = role_key("loader")
    uefi_loader: str | None = role_key("uefi_loader")
    media: str | None = role_key("media")
    options: tuple[str, ...] = role_key("options")

    @property
    def network_values(self) -> dict[str, Any]:
        """The keywords of `formats.netboot_network.Network`, as an argument of a step."""
        names = ("server", "subnet", "interface", "root", "domain", "pool", "gateway", "dns")
        return {name: getattr(self, name) for name in (*names, "http_port", "lease_seconds")}

    @property
    def role_values(self) -> dict[str, Any]:
        """What it says of ROLE_KEYS, and the template of unknown machines."""
        return {"template": self.template, **_said(self)}


class TemplateNetboot(Model):
    """How machines of one template boot from the network."""

    boot: str | None = role_key("boot", shown_default=_INHERITED)
    install: str | None = role_key("install", shown_default=_INHERITED)
    loader: str | None = role_key("loader", shown_default=_INHERITED)
    uefi_loader: str | None = role_key("uefi_loader", shown_default=_INHERITED)
    media: str | None = role_key("media", shown_default=_INHERITED)
    options: tuple[str, ...] = role_key("options", shown_default=_INHERITED)

    @property
    def role_values(self) -> dict[str, Any]:
        """What it says of ROLE_KEYS."""
        return _said(self)


def _said(settings: Model) -> dict[str, Any]:
    return {
        name: value
        for name in ROLE_KEYS
        if (value := getattr(settings, name)) is not None and value != ()
    }


class Installer(Model):
    """Another system's installer, or any kernel that is booted with files of its own."""

    name: str = key(
        NAME,
        about="Name of the installer; what is published of it lies in a directory called so.",
        default="",
        shown_default="the file's name without `.toml`",
    )
    summary: str = key(
        SENTENCE,
        about="What it installs, in one line.",
        example='"installs Debian on the first disk"',
    )
    kernel: Path = key(
        FilePath(beside=False),
        about=(
            "The kernel, a file of this machine (which need not exist until something is built), "
            "or of `package`."
        ),
        example='"/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux"',
    )
    initrd: Path = key(FilePath(beside=False), about="Its initramfs.", example='"initrd.gz"')
    package: Path | None = key(
        FilePath(beside=False),
        about=(
            "A Debian package (`.deb`) out of which kernel and initramfs are taken, by the "
            "absolute names that they would be installed under."
        ),
        default=None,
    )
    options: tuple[str, ...] = key(
        ListOf(KERNEL_WORD, of="kernel words", may_be_empty=True),
        about=(
            "Its kernel words. `@server@` stands for the head node's address, `@url@` for the "
            "URL of the directory in which this installer is published, `@disarm@` for the one "
            "that it asks for when it is done."
        ),
        default=(),
    )
    files: tuple[Path, ...] = key(
        ListOf(FilePath(beside=False), of="paths", may_be_empty=True, sameness=_file_name),
        about=(
            "Files published beside it, like a preseed or kickstart file. Texts may say "
            "`@server@`, `@url@` and `@disarm@` too."
        ),
        default=(),
    )


class PublishTarget(Model):
    """A place that generations are delivered to: exactly one of `directory` and `ssh`."""

    directory: str | None = key(
        PUBLISHED_DIRECTORY, about="A directory on this machine.", default=None
    )
    ssh: str | None = key(
        SSH_TARGET, about="A directory on another one, reached by rsync over ssh.", default=None
    )
    port: int | None = key(
        Whole(1, 65535),
        about="With `ssh`: the port of its ssh server.",
        default=None,
        shown_default="what ssh's own configuration says, or 22",
    )
    identity: Path | None = key(
        FilePath(beside=False),
        about=(
            "With `ssh`: the private key to log in with, and no other. Not one with a passphrase."
        ),
        default=None,
        shown_default="what ssh finds by itself",
    )
    known_hosts: Path | None = key(
        FilePath(beside=False),
        about="With `ssh`: the file that holds the server's own key.",
        default=None,
        shown_default="ssh's own files",
    )
    keep: int | None = key(
        Whole(1, 1000),
        about="How many generations stay there.",
        default=None,
        shown_default="`keep` of `[generation]`",
    )


def _hostname_key(what: str) -> Any:
    return key(
        HOSTNAME,
        about="Goes into `etc/hostname`.",
        default="",
        shown_default=f"the {what}'s name",
    )


def _packages_key(about: str) -> Any:
    return key(
        ListOf(PACKAGE, of="packages", may_be_empty=True, sameness=package_name),
        about=about,
        default=(),
    )


def _runlevels_key(about: str) -> Any:
    return key(
        TableOf(RUNLEVELS, ListOf(SERVICE, of="services", may_be_empty=True)),
        about=about,
        default={},
    )


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
    hostname: str = _hostname_key("template")
    overlays: tuple[Overlay, ...] = key(
        ListOf(NAME, of="overlays"),
        about="Trees under `overlays/`, later ones over earlier ones.",
        example='["base", "report"]',
    )
    packages: tuple[str, ...] = _packages_key("Goes into `etc/apk/world`, besides `alpine-base`.")
    runlevels: dict[str, tuple[str, ...]] = _runlevels_key(
        "Services started in each OpenRC runlevel."
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
    netboot: TemplateNetboot = key(
        Table(TemplateNetboot),
        about="How these machines boot from the network, where that is not as the site says.",
        default=TemplateNetboot(),
    )

    def bootable(self, release: Release) -> Bootable:
        """What its machines can be booted by; `release` is the one that it names."""
        return Bootable(
            flavor=self.flavor,
            firmware=self.usbkey.firmware,
            features=release.pxerd.features_of(self.flavor),
        )


class Image(Model):
    """A whole root filesystem that machines run from memory, with no medium."""

    name: str = key(
        NAME,
        about="Name of the image; what is built of it is called like this.",
        default="",
        shown_default="the file's name without `.toml`",
    )
    kind: str = key(
        Choice("ramroot"),
        about="`ramroot` packs the root filesystem as the initramfs of a kernel.",
        example='"ramroot"',
    )
    summary: str = key(
        SENTENCE,
        about="What machines with this image do, in one line.",
        example='"what these machines do"',
    )
    release: str = key(
        NAME,
        about="The release whose kernel boots it.",
        default="",
        shown_default="`release` of site.toml",
    )
    flavor: str = key(
        FLAVOR,
        about="The kernel that boots it; one of the release's flavors.",
        default="",
        shown_default="`flavor` of site.toml",
    )
    directory: Path | None = key(
        FilePath(beside=False),
        about="A directory that is the root, as `debootstrap` leaves one.",
        default=None,
    )
    tarball: Path | None = key(
        FilePath(beside=False),
        about="An archive of the root, such as an Alpine minirootfs; its headers say the owners.",
        default=None,
    )
    packages: tuple[str, ...] = _packages_key(
        "Packages of the release that make the root, with all that they need."
    )
    exclude: tuple[str, ...] = key(
        ListOf(FILE_GLOB, of="globs", may_be_empty=True),
        about="What to leave out of the source, with all below it. `*` matches no leading dot.",
        default=(),
    )
    disk_owners: bool = key(
        Flag(),
        about=(
            "Whether files of `directory` belong to whom they belong on this machine; "
            "otherwise they are root's."
        ),
        default=False,
    )
    owners: Path | None = key(
        FilePath(beside=False),
        about="An [ownership file](apkovl.md) for what the source brings.",
        default=None,
    )
    overlays: tuple[Overlay, ...] = key(
        ListOf(NAME, of="overlays", may_be_empty=True),
        about="Trees under `overlays/`, laid over the source, later ones over earlier ones.",
        default=(),
    )
    hostname: str = _hostname_key("image")
    runlevels: dict[str, tuple[str, ...]] = _runlevels_key(
        "Services started in each OpenRC runlevel, besides those that the source starts."
    )
    modules: tuple[str, ...] = key(
        ListOf(MODULE, of="features or modules", may_be_empty=True),
        about=(
            "Kernel modules to carry, with all that they need: features (their modules, not "
            "their files) or names of modules."
        ),
        default=(),
    )
    init: str = key(
        INIT,
        about=(
            "`auto` keeps the root's own `/init`, or supplies one that hands over to `/sbin/init`, "
            "systemd or a shell. A path is what a supplied `/init` hands over to."
        ),
        default="auto",
    )
    memory_mebibytes: int | None = key(
        Whole(64, 1 << 20),
        about="Memory of the smallest machine that boots it, in MiB; a root must fit there.",
        default=None,
        shown_default="`memory_mebibytes` of `[smoke]`",
    )
    compression: str = key(
        Choice("auto", "gzip", "xz", "zstd", "none"),
        about="How it is compressed; `auto` asks the release's kernel what it can unpack.",
        default="auto",
    )
    level: int | None = key(
        Whole(0, 19),
        about="Compression level: gzip 1 to 12, xz 0 to 9, zstd 1 to 19. Needs a `compression`.",
        default=None,
        shown_default="chosen by the codec",
    )

    @property
    def bootable(self) -> Bootable:
        """What its machines can be booted by."""
        return Bootable(flavor=self.flavor, firmware=(), features=(), is_ramroot=True)


class GenerationSettings(Model):
    """When a new generation becomes `current`, and how many are kept."""

    gate: str = key(
        Choice("checks", "boot"),
        about=(
            "What a generation must pass to become `current`: `checks` re-hashes every file and "
            "[holds kernels, initramfs, modloops, overlays and boot configurations against each "
            "other](gate.md); `boot` demands proof of boots as well, which `doit release` sees to."
        ),
        default="checks",
    )
    keep: int = key(
        Whole(1, 1000),
        about="How many of the newest generations `doit prune` keeps. Nothing is pruned unasked.",
        default=5,
    )


LEAST_MEMORY_MEBIBYTES = 128
"""Of a machine that shall boot."""


class SmokeSettings(Model):
    """The virtual machines that prove a boot."""

    memory_mebibytes: int = key(
        Whole(LEAST_MEMORY_MEBIBYTES, 65536), about="Memory of a test machine, in MiB.", default=512
    )
    accel: str = key(
        Choice("auto", "kvm", "tcg"),
        about="`auto` uses KVM only where it was seen to run a guest.",
        default="auto",
    )
    scenarios: tuple[str, ...] = key(
        ListOf(Choice(*[row.name for row in SCENARIOS]), of="scenarios"),
        about="The boots to prove, by name; [smoke](smoke.md) describes them.",
        default=(),
        shown_default="every scenario that a template or image is fit for and that needs no root",
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
    netboot: NetbootSettings | None = key(
        Table(NetbootSettings),
        about="Boot from the network. Without this table nothing is made for it.",
        default=None,
    )
    publish: dict[str, PublishTarget] = key(
        TablesOf(NAME, PublishTarget),
        about="Places that `doit publish` delivers to: each has either `directory` or `ssh`.",
        default={},
    )


class Site(Model):
    """Everything that recipes/ and overlays/ ask for, checked. Mappings are by name, sorted."""

    root: Path = given()
    name: str = given()
    release: str = given()
    flavor: str = given()
    generation: GenerationSettings = given()
    smoke: SmokeSettings = given()
    netboot: NetbootSettings | None = given()
    publish: dict[str, PublishTarget] = given()
    releases: dict[str, Release] = given()
    templates: dict[str, Template] = given()
    images: dict[str, Image] = given()
    installers: dict[str, Installer] = given()
    overlays: dict[str, Overlay] = given()
    feature_directories: tuple[Path, ...] = given()
    patch_directories: tuple[Path, ...] = given()
    recipe_files: tuple[Path, ...] = given()
