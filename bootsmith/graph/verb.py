"""Verb: the declaration of a command over what was built, such as `doit rollback`.

Like a step, a verb names its function and does not import it. The function gets by keyword

    every entry of `arguments`;
    every option, by its keyword;
    `operands` (a tuple of words), where the verb takes some;
    `say`, to print a line of its answer, `remind`, for what a person may want to do then, and
    `progress`, where it has these parameters.

It raises a BootsmithError for whatever the person has to know about.
"""

from __future__ import annotations

import getopt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bootsmith.errors import PublishError


@dataclass(frozen=True, kw_only=True)
class Option:
    """`--name VALUE`, or `--name` alone where the default is False."""

    name: str
    about: str
    default: str | int | bool | None = None
    whole_number: bool = False
    placeholder: str = "VALUE"
    parameter: str = ""
    """The function's keyword, where it is not the name with underscores."""
    completes: str | None = None
    """The kind of names that its value is one of, as completion.py knows them."""

    @property
    def keyword(self) -> str:
        """The function's keyword."""
        return self.parameter or self.name.replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One command."""

    name: str
    summary: str
    call: str
    """`package.module:function`"""
    examples: tuple[str, ...]
    """Lines as typed, each with what it does: `doit rollback    # to the one before`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    operands: str | None = None
    """How usage shows its words, such as `ID...`; None where it takes none."""
    completes: str | None = None
    """The kind of names that its words are, as completion.py knows them."""
    changes: bool = False
    """Changes artifacts, so it takes the lock of runs."""
    changes_if: str | None = None
    """The option with which it does."""

    def sorted_words(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """`words` with the options that stand behind operands taken for options.

        doit takes everything behind the first operand for another one; people write
        `doit pin ID --note TEXT`. PublishError for an option that there is not.
        """
        if "operands" not in words:
            return dict(words)
        try:
            found, operands = getopt.gnu_getopt(
                list(words["operands"]), "h", ["help", *map(_long, self.options)]
            )
            values = {
                option.keyword: self._value(option, text)
                for name, text in found
                for option in self.options
                if name == f"--{option.name}"
            }
        except getopt.GetoptError as error:
            raise PublishError(
                f"doit {self.name}", str(error), hint=f"doit {self.name} --help"
            ) from error
        asked = any(name in ("-h", "--help") for name, _ in found)
        return {
            **words,
            **values,
            "operands": tuple(operands),
            "help": words.get("help", False) or asked,
        }

    def _value(self, option: Option, text: str) -> Any:
        if isinstance(option.default, bool):
            return True
        if option.whole_number and not text.removeprefix("-").isdecimal():
            raise PublishError(
                f"doit {self.name}",
                f"bad value of --{option.name}",
                expected="a whole number",
                got=text,
                hint=f"doit {self.name} --help",
            )
        return int(text) if option.whole_number else text

    @property
    def usage(self) -> str:
        """What `doit NAME --help` prints."""
        words = [f"[--{option.name}{_placeholder(option)}]" for option in self.options] + (
            [self.operands] if self.operands else []
        )
        lines = [f"usage: doit {' '.join([self.name, *words])}", "", self.summary, ""]
        width = max((len(f"--{o.name}{_placeholder(o)}") for o in self.options), default=0)
        lines += [
            f"  {f'--{option.name}{_placeholder(option)}':<{width}}  {option.about}"
            for option in self.options
        ]
        lines += ["", "examples:"] if self.options else ["examples:"]
        lines += [f"  {example}" for example in self.examples]
        return "\n".join(lines)


def _long(option: Option) -> str:
    return option.name if isinstance(option.default, bool) else f"{option.name}="


def _placeholder(option: Option) -> str:
    return "" if isinstance(option.default, bool) else f" {option.placeholder}"
