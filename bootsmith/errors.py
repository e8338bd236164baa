"""Every error that bootsmith expects, in one tree.

    BootsmithError           the subject, what is wrong, expected, got, the next step
    ├── RecipeError          a recipe, overlay or ownership file says something impossible
    │   └── RecipeErrors     several of them, found in one look
    ├── SourceError          an ISO, package or download is missing, changed or unreachable
    ├── FormatError          bytes are not what their name or header claims; hostile archives
    ├── ToolMissing          a program or library that a step needs is not installed
    ├── ToolFailed           a program ran and reported failure
    ├── BuildError           parts that are each fine do not fit together
    ├── SmokeError           a guest did not prove its boot
    └── PublishError         a generation cannot be assembled, verified or promoted

Whatever else escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MOST_SHOWN = 20


class BootsmithError(Exception):
    """Base of all expected errors.

    `subject` locates the trouble (a file, `file:line`, `file: key`, an artifact name);
    `problem` says what is wrong with it; `hint` is the one action to take next.
    """

    exit_status = 2

    def __init__(
        self,
        subject: object,
        problem: str,
        *,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.subject = str(subject)
        self.problem = problem
        self.expected = expected
        self.got = got
        self.hint = hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """`subject: problem; expected X, got Y`, on one line unless a part has lines of its own."""
        text = f"{self.subject}: {self.problem}"
        facts = []
        if self.expected is not None:
            facts.append(f"expected {self.expected}")
        if self.got is not None:
            facts.append(f"got {self.got}")
        if facts:
            text += "; " + ", ".join(facts)
        return text

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders under `doit -n`; the default would call
        # __init__ with the rendered message alone.
        return (
            _rebuild,
            (type(self), self.subject, self.problem, self.expected, self.got, self.hint),
        )


def _rebuild(
    kind: type[BootsmithError],
    subject: str,
    problem: str,
    expected: object,
    got: object,
    hint: str | None,
) -> BootsmithError:
    return kind(subject, problem, expected=expected, got=got, hint=hint)


class RecipeError(BootsmithError):
    """A recipe, overlay or ownership file says something impossible."""


class RecipeErrors(RecipeError):
    """Several of them: each as it is by itself, by file and line, and how many there are."""

    def __init__(self, errors: Sequence[RecipeError], *, is_all: bool = True) -> None:
        self.errors = tuple(sorted(errors, key=_file_and_line))
        self.is_all = is_all
        files = len({_file_and_line(error)[0] for error in errors})
        count = f"{len(errors)} errors" if is_all else f"{len(errors)} errors at least"
        super().__init__("recipes", f"{count} in {files} file{'' if files == 1 else 's'}")

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[:_MOST_SHOWN]]
        rest = len(self.errors) - len(lines)
        if rest:
            lines.append(f"and {rest} more{'' if self.is_all else ' at least'}")
        return "\n".join([*lines, self.message])

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_several, (self.errors, self.is_all))


def _rebuild_several(errors: Sequence[RecipeError], is_all: bool) -> RecipeErrors:
    return RecipeErrors(errors, is_all=is_all)


def _file_and_line(error: RecipeError) -> tuple[str, int]:
    file, _, rest = error.subject.partition(":")
    line = rest.partition(":")[0]
    return file, int(line) if line.isdecimal() else 0


class SourceError(BootsmithError):
    """An ISO, package or download is missing, changed or unreachable."""


class FormatError(BootsmithError):
    """Bytes are not what their name or header claims."""


class ToolMissing(BootsmithError):
    """A program or library that a step needs is not installed."""


class ToolFailed(BootsmithError):
    """A program ran and reported failure."""


class BuildError(BootsmithError):
    """Parts that are each fine do not fit together."""


class SmokeError(BootsmithError):
    """A guest did not prove its boot."""


class PublishError(BootsmithError):
    """A generation cannot be assembled, verified or promoted."""
