"""Every error that bootsmith expects, in one tree.

    BootsmithError           the subject, what is wrong, expected, got, the next step
    ├── RecipeError          a recipe, overlay or ownership file says something impossible
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

from typing import Any


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
