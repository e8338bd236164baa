"""Keys that a recipe may hold: what each must look like, and what is said when it does not.

A model is a class whose fields are declared with `key(...)` (read from TOML) or `given()`
(supplied by the loader). Models are frozen and keyword-only, as dataclasses are to a type
checker; no code is generated for them when the module is imported, because that costs a
no-op `doit build` more than reading all recipes does (docs/dependencies.md).

A value that does not fit raises RecipeError located `file:line: key`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, dataclass_transform

from bootsmith.errors import RecipeError
from bootsmith.site.findings import raise_all

_REQUIRED: Any = object()
_SIZE_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_REFERENCE = "docs/recipes.md"
_LEAST_KEYS_OF_TABLE = 2


class Place:
    """One key of one recipe file; knows how to complain about it."""

    __slots__ = ("content", "file", "keys", "shown")

    def __init__(
        self, *, file: Path, shown: str, content: str, keys: tuple[str | int, ...] = ()
    ) -> None:
        self.file = file
        self.shown = shown
        self.content = content
        self.keys = keys

    def at(self, *keys: str | int) -> Place:
        """The place of a key (or list position) below this one."""
        return Place(
            file=self.file, shown=self.shown, content=self.content, keys=(*self.keys, *keys)
        )

    @property
    def subject(self) -> str:
        """`file:line: key`. A key that is not there has no line, or that of its `[host.NAME]`."""
        from bootsmith.site.position import line_of  # parses the file again: errors only

        line = line_of(self.content, self.keys)
        if line is None and len(self.keys) > _LEAST_KEYS_OF_TABLE:
            line = line_of(self.content, self.keys[:-1])  # of many tables, the one that lacks it
        subject = self.shown if line is None else f"{self.shown}:{line}"
        return f"{subject}: {_dotted(self.keys)}" if self.keys else subject

    def fail(
        self, problem: str, *, expected: object = None, got: object = None, hint: str | None = None
    ) -> NoReturn:
        """Raise RecipeError about this key."""
        raise RecipeError(
            self.subject,
            problem,
            expected=expected,
            got=got,
            hint=hint or f"correct it; {_REFERENCE} describes every key",
        )


class Check(ABC):
    """What a value must be. `expected` is said in errors and in the reference page."""

    expected: str

    @abstractmethod
    def read(self, value: object, place: Place) -> Any:
        """The checked value as the model holds it, or RecipeError."""


class Text(Check):
    """Text of which `accepts` says whether it will do.

    No regular expressions: compiling a dozen of them took half the time of loading a site.
    """

    def __init__(self, accepts: Callable[[str], bool], expected: str) -> None:
        self.accepts = accepts
        self.expected = expected

    def read(self, value: object, place: Place) -> str:
        """The text itself."""
        if type(value) is not str:
            wrong_type(place, "text", value)
        if not self.accepts(value):
            _bad_value(place, self.expected, value)
        return value


def word_of(letters: str, *, first: str | None = None, most: int) -> Callable[[str], bool]:
    """Accepts 1 to `most` characters of `letters`, the first one out of `first`."""
    beginning = letters if first is None else first

    def accepts(text: str) -> bool:
        return 0 < len(text) <= most and text[0] in beginning and not text.strip(letters)

    return accepts


class Digest(Check):
    """A digest in hexadecimal digits, upper or lower case."""

    def __init__(self, digits: int) -> None:
        self._digits = digits
        self.expected = f"{digits} hexadecimal digits"

    def read(self, value: object, place: Place) -> str:
        """The digest in lower case, as hashlib writes it."""
        if type(value) is not str:
            wrong_type(place, "text", value)
        if len(value) != self._digits or value.strip("0123456789abcdefABCDEF"):
            _bad_value(place, self.expected, value)
        return value.lower()


class Whole(Check):
    """A whole number within bounds, both included."""

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most
        self.expected = (
            f"the number {least}" if least == most else f"a whole number from {least} to {most}"
        )

    def read(self, value: object, place: Place) -> int:
        """The number itself."""
        if type(value) is not int:
            wrong_type(place, "a whole number", value)
        if not self._least <= value <= self._most:
            _bad_value(place, self.expected, value)
        return value


class Tenths(Check):
    """Seconds in steps of a tenth: boot loaders count in tenths.

    Zero is refused: to SYSLINUX it means "wait for ever", a machine that never starts
    unattended.
    """

    expected = "seconds from 0.1 to 3599.9, in steps of 0.1"

    def read(self, value: object, place: Place) -> float:
        """The number of seconds."""
        if type(value) is not int and type(value) is not float:
            wrong_type(place, "a number", value)
        if not 0.1 <= value <= 3599.9 or abs(value * 10 - round(value * 10)) > 1e-6:
            _bad_value(place, self.expected, value)
        return value


class Flag(Check):
    """true or false."""

    expected = "true or false"

    def read(self, value: object, place: Place) -> bool:
        """The truth value itself."""
        if type(value) is not bool:
            wrong_type(place, self.expected, value)
        return value


class Choice(Check):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self.expected = _one_of([shown_value(word) for word in words])

    def read(self, value: object, place: Place) -> str:
        """The word itself."""
        if type(value) is not str:
            wrong_type(place, "text", value)
        if value not in self._words:
            near = nearest(value, self._words)
            hint = f"write {shown_value(near)}" if near else None
            place.fail("bad value", expected=self.expected, got=shown_value(value), hint=hint)
        return value


class Size(Check):
    """`"auto"`, or bytes with a unit: K, M, G and T are powers of 1024."""

    expected = 'a size like "512M" or "2G", or "auto"'

    def read(self, value: object, place: Place) -> int | None:
        """Bytes, or None for "auto"."""
        if type(value) is not str:
            wrong_type(place, self.expected, value)
        if value == "auto":
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,8})([KMGT])", value)
        if match is None:
            _bad_value(place, self.expected, value)
        return int(match[1]) * _SIZE_UNITS[match[2]]


class FilePath(Check):
    """A path, relative to the recipe that says it.

    `beside=True` is for files that bootsmith itself writes: they stay in the recipe's
    own directory. Others may lie anywhere.
    """

    def __init__(self, *, beside: bool) -> None:
        self._beside = beside
        self.expected = (
            "a file name without a directory"
            if beside
            else "a path, absolute or relative to this recipe's directory"
        )

    def read(self, value: object, place: Place) -> Path:
        """An absolute path; nothing says that it exists."""
        if type(value) is not str:
            wrong_type(place, "text", value)
        if not value or "\0" in value or value != value.strip():
            _bad_value(place, self.expected, value)
        if self._beside and ("/" in value or value in {".", ".."}):
            place.fail(
                "leads out of the recipe's directory",
                expected=self.expected,
                got=shown_value(value),
            )
        return Path(normal_path(f"{place.file.parent}/{value}" if value[0] != "/" else value))


class ListOf(Check):
    """A list without repetition; empty only where `may_be_empty`."""

    def __init__(
        self,
        item: Check,
        *,
        of: str,
        may_be_empty: bool = False,
        sameness: Callable[[str], str] = str,
    ) -> None:
        self._item = item
        self._may_be_empty = may_be_empty
        self._sameness = sameness
        self.of = of
        self.expected = f"a list of {of}" if may_be_empty else f"a list of one or more {of}"

    @property
    def item(self) -> Check:
        """What each member must be."""
        return self._item

    def read(self, value: object, place: Place) -> tuple[Any, ...]:
        """The members in their order."""
        if type(value) is not list:
            wrong_type(place, f"a list of {self.of}", value)
        if not value and not self._may_be_empty:
            place.fail("empty list", expected=self.expected)
        item = self._item
        members = tuple(_read_each(enumerate(value), lambda at, one: item.read(one, place.at(at))))
        seen: dict[str, str] = {}
        for index, member in enumerate(members):
            same = self._sameness(member)
            if same in seen:
                both = shown_value(member) if seen[same] == member else f"{seen[same]} and {member}"
                place.at(index).fail(
                    "named twice",
                    expected=f"each of the {self.of} once",
                    got=both,
                    hint="remove one of the two",
                )
            seen[same] = member
        return members


class TableOf(Check):
    """A table with a fixed set of names, each with a value of one kind; all may be left out."""

    def __init__(self, names: Mapping[str, str], item: Check) -> None:
        self.names = names
        self.item = item
        self.expected = "a table"

    def read(self, value: object, place: Place) -> dict[str, Any]:
        """The values under the names that were given, in the order of `names`."""
        if type(value) is not dict:
            wrong_type(place, "a table", value)
        _refuse_unknown(value, self.names, place)
        given = [(name, value[name]) for name in self.names if name in value]
        read = self.item.read
        values = _read_each(given, lambda name, one: read(one, place.at(name)))
        return {name: one for (name, _), one in zip(given, values, strict=True)}


class Table(Check):
    """A table that is itself a model; left out, it is the model with its defaults."""

    expected = "a table"

    def __init__(self, model: type[Model]) -> None:
        self.model = model

    def read(self, value: object, place: Place) -> Any:
        """An instance of the model."""
        if type(value) is not dict:
            wrong_type(place, "a table", value)
        return self.model(**read_keys(self.model, value, place))


class TablesOf(Check):
    """Tables under names of the recipe's own, each of them a model."""

    expected = "a table of tables"

    def __init__(self, name: Text, model: type[Model]) -> None:
        self.name = name
        self.model = model

    def read(self, value: object, place: Place) -> dict[str, Any]:
        """The models by name, in the order of the recipe."""
        if type(value) is not dict:
            wrong_type(place, self.expected, value)
        return _read_named(value, self.name, Table(self.model), place)


class ListOfTables(Check):
    """`[[name]]`, as often as the recipe likes, each of them a model."""

    expected = "a list of tables"

    def __init__(self, model: type[Model], *, most: int) -> None:
        self.model = model
        self._most = most

    def read(self, value: object, place: Place) -> tuple[Any, ...]:
        """The models in their order."""
        if type(value) is not list:
            wrong_type(place, self.expected, value)
        if len(value) > self._most:
            place.fail("too many", expected=f"at most {self._most}", got=len(value))
        item = Table(self.model)
        return tuple(_read_each(enumerate(value), lambda at, one: item.read(one, place.at(at))))


class NamedValues(Check):
    """A table under names of the recipe's own, each with a value of one kind."""

    def __init__(self, name: Text, item: Check, *, expected: str, most: int) -> None:
        self.name = name
        self.item = item
        self.expected = expected
        self._most = most

    def read(self, value: object, place: Place) -> dict[str, Any]:
        """The values in the order of the recipe."""
        if type(value) is not dict:
            wrong_type(place, self.expected, value)
        if len(value) > self._most:
            place.fail("too many", expected=f"at most {self._most}", got=len(value))
        return _read_named(value, self.name, self.item, place)


class Key:
    """Declaration of one field that recipes may set."""

    __slots__ = ("about", "check", "default", "example", "name", "shown_default", "spelled")

    def __init__(
        self,
        check: Check,
        *,
        about: str,
        default: Any,
        shown_default: str | None,
        example: str | None,
        spelled: str | None,
    ) -> None:
        self.check = check
        self.about = about
        self.default = default
        self.shown_default = shown_default
        self.example = example
        self.spelled = spelled
        self.name = spelled or ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.spelled or name

    @property
    def is_required(self) -> bool:
        """Whether a recipe must set it."""
        return self.default is _REQUIRED


def key(
    check: Check,
    *,
    about: str,
    default: Any = _REQUIRED,
    shown_default: str | None = None,
    example: str | None = None,
    spelled: str | None = None,
) -> Any:
    """A field that recipes set. `spelled` is its TOML name if the field's name has a unit."""
    return Key(
        check,
        about=about,
        default=default,
        shown_default=shown_default,
        example=example,
        spelled=spelled,
    )


def given() -> Any:
    """A field that the loader supplies; no recipe key."""
    return _REQUIRED


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(key, given))
class Model:
    """A frozen value with named fields, all keyword-only."""

    _keys: ClassVar[dict[str, Key]]
    _fields: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        cls._keys = {
            field: declared for field, declared in vars(cls).items() if isinstance(declared, Key)
        }
        cls._fields = tuple([name for name in cls.__annotations__ if not name.startswith("_")])
        for field in cls._fields:
            if field in vars(cls):
                delattr(cls, field)  # an instance without a value must not show the declaration

    def __init__(self, **values: Any) -> None:
        for field, declared in self._keys.items():
            if field not in values and not declared.is_required:
                values[field] = declared.default
        if values.keys() != set(self._fields):
            odd = sorted(values.keys() ^ set(self._fields))
            raise TypeError(f"{type(self).__name__}: missing or unknown fields: {', '.join(odd)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: cannot delete {name}")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    __hash__ = None  # type: ignore[assignment]  # fields may be mappings

    def __repr__(self) -> str:
        values = ", ".join(f"{field}={getattr(self, field)!r}" for field in self._fields)
        return f"{type(self).__name__}({values})"

    @classmethod
    def declared_keys(cls) -> tuple[Key, ...]:
        """The declared keys in their order."""
        return tuple(cls._keys.values())


def read_keys(model: type[Model], table: Mapping[str, object], place: Place) -> dict[str, Any]:
    """The checked values of every key of `model`, by field name, defaults filled in.

    Whatever is wrong is raised together.
    """
    declared = model._keys  # noqa: SLF001 -- one subject, one module
    errors: list[RecipeError] = []
    names = [one.name for one in declared.values()]
    misspelt: set[str | None] = set()
    if not table.keys() <= set(names):
        errors += _unknown_keys(table, names, place)
        # A required key that is misspelt is not missing as well.
        misspelt = {nearest(name, names) for name in table if name not in names}
    values = {}
    for field, one in declared.items():
        try:
            if one.name in table:
                values[field] = one.check.read(table[one.name], place.at(one.name))
            elif not one.is_required:
                values[field] = one.default
            elif one.name not in misspelt:
                _missing(one, place)
        except RecipeError as error:
            errors.append(error)
    if errors:
        raise_all(errors)
    return values


def _missing(one: Key, place: Place) -> NoReturn:
    place.at(one.name).fail(
        "missing key",
        expected=one.check.expected,
        hint=f"add: {one.name} = {one.example}" if one.example else None,
    )


def read_given(model: type[Model], table: object, place: Place) -> dict[str, Any]:
    """As `read_keys`, without defaults: only what `table` says."""
    if type(table) is not dict:
        wrong_type(place, "a table", table)
    declared = {one.name: (field, one) for field, one in model._keys.items()}  # noqa: SLF001
    needed = [name for name, (_, one) in declared.items() if one.is_required]
    try:
        if table.keys() <= declared.keys() and all(name in table for name in needed):
            return {
                declared[name][0]: declared[name][1].check.read(value, place.at(name))
                for name, value in table.items()
            }
    except RecipeError:
        pass  # there may be more
    read_keys(model, table, place)
    raise AssertionError("what is wrong with one key is wrong with the table")


def _read_each(parts: Iterable[tuple[Any, Any]], read: Callable[[Any, Any], Any]) -> list[Any]:
    """What `read` makes of each part, or the errors of all of them."""
    values: list[Any] = []
    errors: list[RecipeError] = []
    for where, part in parts:
        try:
            values.append(read(where, part))
        except RecipeError as error:
            errors.append(error)
    if errors:
        raise_all(errors)
    return values


def _read_named(
    table: Mapping[str, object], name: Text, item: Check, place: Place
) -> dict[str, Any]:
    """The values of `table`, whose names are of the recipe's own."""

    def read(word: str, value: object) -> tuple[str, Any]:
        return name.read(word, place.at(word)), item.read(value, place.at(word))

    return dict(_read_each(table.items(), read))


def check_reference(
    value: str, known: Iterable[str], place: Place, *, problem: str, add: str
) -> None:
    """RecipeError with `problem` unless `value` is one of `known`.

    `add` says how another one comes to be.
    """
    names = sorted(known)
    if value in names:
        return
    near = nearest(value, names)
    choice = f"write {shown_value(near)}, or " if near else ""
    place.fail(
        problem,
        expected=_one_of(names) if names else None,
        got=shown_value(value),
        hint=f"{choice}{add}",
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is near."""
    import difflib  # errors only

    matches = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def normal_path(path: str) -> str:
    """`path` without `.`, `..` and doubled slashes; links are not followed."""
    import os.path

    return os.path.normpath(path)


def _refuse_unknown(table: Iterable[str], known: Iterable[str], place: Place) -> None:
    raise_all(_unknown_keys(table, list(known), place))


def _unknown_keys(
    table: Iterable[str], names: Sequence[str], place: Place
) -> Iterator[RecipeError]:
    for name in table:
        if name not in names:
            near = nearest(name, names)
            yield RecipeError(
                place.at(name).subject,
                "unknown key",
                expected=near or _one_of(names),
                hint=(
                    f"rename it to {near}"
                    if near
                    else f"remove it; {_REFERENCE} describes every key"
                ),
            )


def wrong_type(place: Place, expected: str, value: object) -> NoReturn:
    """RecipeError about a value of another nature."""
    place.fail("wrong type", expected=expected, got=_kind_of(value))


def _bad_value(place: Place, expected: str, value: object) -> NoReturn:
    place.fail("bad value", expected=expected, got=shown_value(value))


def _kind_of(value: object) -> str:
    kinds: dict[type, str] = {
        list: "a list",
        dict: "a table",
    }
    if type(value) is str:
        return f"the text {shown_value(value)}"
    if type(value) in {int, float}:
        return f"the number {value}"
    if type(value) is bool:
        return "true" if value else "false"
    return kinds.get(type(value), "a date or time")


def shown_value(value: object) -> str:
    """`value` as an error shows it: as TOML writes it, and not at length."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (str, int)) else str(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def _one_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if len(names) > 12:
        return f"one of {len(names)} names: {', '.join(names[:12])}, ..."
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _dotted(keys: Sequence[str | int]) -> str:
    text = ""
    for part in keys:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part)
            text += f".{bare}" if text else bare
    return text
