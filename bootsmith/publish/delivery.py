"""One place on the way to a generation, and errors that say which place they are about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import BootsmithError, PublishError, ToolMissing
from bootsmith.files.storage_errors import named_storage_errors
from bootsmith.publish.place import AGAIN, Place, State
from bootsmith.publish.transfer import Transfer


@dataclass(kw_only=True)
class Delivery:
    """What is known of one place, and what became of it."""

    place: Place
    transfer: Transfer
    state: State
    seconds: float = 0.0
    sent_bytes: int = 0
    is_there: bool = False
    """All of it, verified, under its name."""
    is_current: bool = False
    mended: tuple[str, ...] = ()
    """Names of the generation, there before, that were not as they should be."""
    pruned: tuple[str, ...] = ()
    trouble: PublishError | None = None

    @property
    def was(self) -> str | None:
        """What the place served when we came."""
        return self.state.current


@contextmanager
def errors_of(place: Place) -> Iterator[None]:
    """Turn what goes wrong at a place into a PublishError that names it.

    ToolMissing passes as it is: the program is missing on this machine.
    """
    try:
        with named_storage_errors(Path(place.directory), again=AGAIN):
            yield
    except ToolMissing:
        raise
    except BootsmithError as error:
        raise _about(place, error) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise place.error(
            f"{where}{error.strerror}",
            hint="see whether it is still there, then doit publish again",
        ) from error


def _about(place: Place, error: BootsmithError) -> PublishError:
    known = {place.shown, place.directory, place.login.destination if place.login else None}
    is_elsewhere = error.subject not in known
    return place.error(
        f"{error.subject}: {error.problem}" if is_elsewhere else error.problem,
        expected=error.expected,
        got=error.got,
        hint=error.hint or "doit publish again",
    )
