"""What is wrong with recipes, gathered, so that all of it can be said at once.

    found = Findings()
    with found:
        ...  # a check that raises RecipeError
    with found:
        ...  # another one, whatever became of the first
    found.raise_any()

A check that cannot be made, because what it asks about is itself wrong, raises Unjudged: that has
been said already, and what follows from it is nobody's mistake.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from bootsmith.errors import RecipeError, RecipeErrors

_MOST = 100
"""Each costs another look for its line, and nobody reads more."""


class Unjudged(Exception):
    """Whether this is right depends on something that is wrong itself."""


class Findings:
    """The errors of several checks, as a context for each of them."""

    def __init__(self) -> None:
        self._errors: dict[str, RecipeError] = {}
        """By what they say: two ways may lead to one mistake."""
        self._unjudged = False

    def __bool__(self) -> bool:
        """Whether anything is wrong, or depends on something that is."""
        return bool(self._errors) or self._unjudged

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, RecipeError):
            self.add(error)
        elif isinstance(error, Unjudged):
            self._unjudged = True
        else:
            return False
        return True

    def add(self, error: RecipeError) -> None:
        """Keep `error`; with very many of them, raise them at once."""
        for one in error.errors if isinstance(error, RecipeErrors) else [error]:
            self._errors.setdefault(str(one), one)
        if len(self._errors) >= _MOST:
            raise RecipeErrors([*self._errors.values()][:_MOST], is_all=False)

    def raise_any(self) -> None:
        """Raise what was found: one error as it is, several as RecipeErrors."""
        errors = [*self._errors.values()]
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise RecipeErrors(errors)
        if self._unjudged:
            raise Unjudged


def raise_all(errors: Iterable[RecipeError]) -> None:
    """Raise these as one, if there are any."""
    found = Findings()
    for error in errors:
        found.add(error)
    found.raise_any()
