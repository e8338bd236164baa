"""recipes/hosts.toml: the keys that say which machine is what."""

from __future__ import annotations

from typing import Any

from bootsmith.formats.mac import mac_problem, parse_mac, parse_prefix, prefix_problem
from bootsmith.site.models import IPV4, NAME, role_key
from bootsmith.site.schema import (
    Check,
    Choice,
    ListOf,
    ListOfTables,
    Model,
    NamedValues,
    Place,
    Table,
    TablesOf,
    Text,
    Whole,
    key,
    shown_value,
    word_of,
    wrong_type,
)

MOST_HOSTS = 100_000
MOST_RULES = 1_000
MOST_IMPORTS = 100
MOST_VALUES = 100
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_label = word_of(f"{_LOWER}{_DIGITS}-", first=_LOWER + _DIGITS, most=63)
_VALUE_CHARACTERS = 1024


class Mac(Check):
    """The MAC address of a machine, as many as there are ways to write one."""

    expected = 'a MAC address like "52:54:00:12:34:56"'

    def read(self, value: object, place: Place) -> str:
        """Lower case, with colons."""
        if type(value) is not str:
            wrong_type(place, self.expected, value)
        mac = parse_mac(value)
        if mac is None:
            problem = mac_problem(value) or "bad value"
            place.fail(problem, expected=self.expected, got=shown_value(value))
        return mac


class MacPrefix(Check):
    """What MAC addresses begin with."""

    def __init__(self, *, bytes_wanted: int | None = None) -> None:
        self._bytes_wanted = bytes_wanted
        self.expected = (
            'one to five bytes like "52:54:00"'
            if bytes_wanted is None
            else f'{bytes_wanted} bytes like "AA:BB"'
        )

    def read(self, value: object, place: Place) -> str:
        """Lower case, with colons."""
        if type(value) is not str:
            wrong_type(place, self.expected, value)
        prefix = parse_prefix(value)
        if prefix is None:
            problem = prefix_problem(value) or "bad value"
            place.fail(problem, expected=self.expected, got=shown_value(value))
        if self._bytes_wanted is not None and prefix.count(":") + 1 != self._bytes_wanted:
            place.fail("bad value", expected=self.expected, got=shown_value(value))
        return prefix


def _is_pattern(text: str) -> bool:
    try:
        made = name_from(text, number=10**9 - 1, mac="00:00:00:00:00:00")
    except ValueError:
        return False
    return made != text and _label(made) and made[-1] != "-"


def name_from(pattern: str, *, number: int, mac: str) -> str:
    """The name that `pattern` makes of a machine; ValueError for a pattern that is none.

    Taken apart here, since `str.format` would let a recipe ask for attributes of objects.
    """
    made = ""
    rest = pattern
    while rest:
        text, brace, rest = rest.partition("{")
        made += text
        if not brace:
            break
        word, closing, rest = rest.partition("}")
        name, colon, width = word.partition(":")
        if word == "mac" and closing:
            made += mac.replace(":", "")
        elif name == "number" and closing and (width in _WIDTHS if colon else True):
            made += str(number).zfill(int(width or 0))
        else:
            raise ValueError(pattern)
    return made


_WIDTHS = {f"0{digits}" for digits in range(1, 10)}


def _is_import_path(text: str) -> bool:
    parts = text.split("/")
    return (
        0 < len(text) <= 255
        and text.isprintable()
        and text == text.strip()
        and not {"", ".", ".."} & set(parts)
    )


HOST_NAME = Text(
    lambda text: _label(text) and text[-1] != "-",
    "a host name without its domain: lower-case letters, digits and inner dashes, at most 63",
)
LEVEL_NAME = Text(
    word_of(f"{_LOWER}{_DIGITS}_-", first=_LOWER, most=32),
    "a name of lower-case letters, digits, dashes and underscores",
)
VALUE_NAME = Text(
    word_of(f"{_LOWER}{_LOWER.upper()}{_DIGITS}_", first=f"{_LOWER}{_LOWER.upper()}_", most=64),
    "a name of letters, digits and underscores",
)
VALUE = Text(
    lambda text: len(text) <= _VALUE_CHARACTERS and text.isprintable(),
    f"one line of text, at most {_VALUE_CHARACTERS} characters",
)
NAME_PATTERN = Text(_is_pattern, 'a pattern like "node{number:03}" or "node-{mac}"')
IMPORT_PATH = Text(_is_import_path, 'a path below recipes/hosts, like "rack-2.csv"')
COLUMN = Text(
    lambda text: 0 < len(text) <= 64 and text.isprintable() and text == text.strip(),
    "the title of a column",
)
IGNORE = "ignore"
VALUE_COLUMN = "values."
HOST_COLUMNS = (
    "name",
    "mac",
    "address",
    "management",
    "group",
    "template",
    "boot",
    "install",
    "loader",
    "uefi_loader",
    "media",
    "options",
    "overlays",
)
"""What columns of a CSV may be called, besides `values.NAME`."""


def is_column_meaning(text: str) -> bool:
    """Whether a column may be called so, or stand for it."""
    name = text.removeprefix(VALUE_COLUMN)
    return text in (*HOST_COLUMNS, IGNORE) or (name != text and VALUE_NAME.accepts(name))


COLUMN_MEANING = Text(is_column_meaning, f"a key of a host, `{VALUE_COLUMN}NAME` or `{IGNORE}`")
_INHERITED = "what the levels before say"
_BYTE = Whole(0, 255)


def _bytes_of(name: Text, what: str) -> NamedValues:
    return NamedValues(name, _BYTE, expected=f"a table of {what} and bytes", most=256)


_TEMPLATE: Any = key(NAME, about="The template.", default=None, shown_default=_INHERITED)
_OVERLAYS: Any = key(
    ListOf(NAME, of="overlays", may_be_empty=True),
    about=(
        "Overlays laid over those of the template and of the levels before. The machine gets "
        "an apkovl of its own."
    ),
    default=(),
)
_VALUES: Any = key(
    NamedValues(VALUE_NAME, VALUE, expected="a table of texts", most=MOST_VALUES),
    about=(
        "Words of the site's own, which the machine finds in its overlay; added to those of "
        "the levels before. The machine gets an apkovl of its own."
    ),
    default={},
    shown_default="none",
)


def _role(name: str) -> Any:
    return role_key(name, shown_default=_INHERITED)


class MacConvention(Model):
    """How the site makes MAC addresses of virtual machines."""

    fixed: str = key(
        MacPrefix(bytes_wanted=2), about="Bytes 1 and 2 of all of them.", example='"AA:BB"'
    )
    levels: dict[str, int] = key(
        _bytes_of(LEVEL_NAME, "levels"),
        about="Byte 3: what it is for each level.",
        example="{ infra = 1, service = 2 }",
    )
    templates: dict[str, int] = key(
        _bytes_of(NAME, "templates"),
        about="Byte 4: what it is for each template. Bytes 5 and 6 are a serial.",
        example="{ default = 1 }",
    )


class RuleEntry(Model):
    """Machines whose MAC begins with a prefix."""

    prefix: str = key(
        MacPrefix(),
        about="What the MACs begin with: whole bytes, such as a vendor's three.",
        example='"00:1b:21"',
    )
    template: str | None = _TEMPLATE
    boot: str | None = _role("boot")
    install: str | None = _role("install")
    loader: str | None = _role("loader")
    uefi_loader: str | None = _role("uefi_loader")
    media: str | None = _role("media")
    options: tuple[str, ...] = _role("options")


class GroupEntry(Model):
    """What several hosts have in common."""

    parent: str | None = key(
        NAME,
        about="A group whose hosts these are too; what it says comes before.",
        default=None,
        shown_default="none",
    )
    template: str | None = _TEMPLATE
    boot: str | None = _role("boot")
    install: str | None = _role("install")
    loader: str | None = _role("loader")
    uefi_loader: str | None = _role("uefi_loader")
    media: str | None = _role("media")
    options: tuple[str, ...] = _role("options")
    overlays: tuple[str, ...] = _OVERLAYS
    values: dict[str, str] = _VALUES


class HostEntry(Model):
    """One machine."""

    mac: str = key(
        Mac(),
        about="The MAC address of the card that it boots from.",
        example='"AA:BB:01:01:00:01"',
    )
    address: str | None = key(
        IPV4, about="Its fixed address.", default=None, shown_default="one of the pool"
    )
    management: str | None = key(
        IPV4,
        about="The address of its management controller (AMT, IPMI): `NAME-mgmt` in the zone.",
        default=None,
        shown_default="none",
    )
    group: str | None = key(
        NAME, about="The group that it belongs to.", default=None, shown_default="none"
    )
    template: str | None = _TEMPLATE
    boot: str | None = _role("boot")
    install: str | None = _role("install")
    loader: str | None = _role("loader")
    uefi_loader: str | None = _role("uefi_loader")
    media: str | None = _role("media")
    options: tuple[str, ...] = _role("options")
    overlays: tuple[str, ...] = _OVERLAYS
    values: dict[str, str] = _VALUES


class ImportEntry(Model):
    """A file of hosts."""

    file: str = key(IMPORT_PATH, about="The file, below `recipes/hosts`.", example='"rack-2.csv"')
    format: str = key(
        Choice("machines", "csv"),
        about=(
            "`machines` has a line for each machine, its MAC address and its management "
            "address; `csv` has a line of column titles first."
        ),
        example='"csv"',
    )
    group: str | None = key(
        NAME,
        about="The group of its hosts, where the file says none.",
        default=None,
        shown_default="none",
    )
    name: str | None = key(
        NAME_PATTERN,
        about=(
            "Names of hosts, where the file says none: `{number}` or `{number:03}` counts the "
            "machines of the file, `{mac}` is the MAC without colons."
        ),
        default=None,
        shown_default="the file says each",
    )
    first: int = key(Whole(0, 999_999), about="The first number.", default=1)
    delimiter: str = key(
        Choice(",", ";", "tab"), about="What stands between the columns of a CSV.", default=","
    )
    columns: dict[str, str] = key(
        NamedValues(COLUMN, COLUMN_MEANING, expected="a table of titles and keys", most=64),
        about=(
            "What columns with titles of their own stand for: a key of a host, `values.NAME` "
            "or `ignore`."
        ),
        default={},
        shown_default="titles are keys",
    )


class HostsRecipe(Model):
    """recipes/hosts.toml."""

    mac: MacConvention | None = key(
        Table(MacConvention),
        about=(
            "The convention by which MACs of virtual machines are made. Each level and template "
            "together are a rule as well."
        ),
        default=None,
    )
    rule: tuple[RuleEntry, ...] = key(
        ListOfTables(RuleEntry, most=MOST_RULES),
        about="Machines whose MAC begins with a prefix, known or not. Prefixes never overlap.",
        default=(),
    )
    group: dict[str, GroupEntry] = key(
        TablesOf(NAME, GroupEntry), about="What several hosts have in common.", default={}
    )
    host: dict[str, HostEntry] = key(
        TablesOf(HOST_NAME, HostEntry), about="One machine.", default={}
    )
    imports: tuple[ImportEntry, ...] = key(
        ListOfTables(ImportEntry, most=MOST_IMPORTS),
        about="A file of hosts below `recipes/hosts`.",
        default=(),
        spelled="import",
    )
