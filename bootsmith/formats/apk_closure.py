"""Which packages of a repository a list of wanted ones needs.

Depth first, each need answered once and never taken back: where apk would try another
provider after a conflict, this is an error that says who needs what. Of several answers one
already chosen comes first, then a package of the very name, one that the recipe names, then the
provider of the highest priority, of the highest version, and last the first name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bootsmith.errors import BuildError
from bootsmith.formats.apk import IndexRecord
from bootsmith.formats.apk_version import Constraint, read_constraint, version_key

_HINT = "name other packages in the recipe, or use a release that carries what is missing"


@dataclass(frozen=True, kw_only=True)
class _Offer:
    """One answer to a need: the package itself, or something that it provides."""

    record: IndexRecord
    name: str
    version: str | None

    @property
    def is_package(self) -> bool:
        return self.name == self.record.info.name


def close_packages(
    records: Iterable[IndexRecord], wanted: Sequence[str], *, subject: str
) -> tuple[IndexRecord, ...]:
    """Every package to install for `wanted` (as in `etc/apk/world`), dependencies first.

    Packages that install themselves once others are there (`install_if`) are among them.
    Raises BuildError, about `subject`, for a need that nothing answers and for a conflict.
    """
    closure = _Closure(records, subject)
    constraints = [read_constraint(text) for text in wanted]
    closure.forbidden += [(one, "the recipe") for one in constraints if one.forbids]
    closure.asked = {one.name for one in constraints if not one.forbids}
    for constraint in constraints:
        closure.satisfy(constraint, "the recipe")
    while closure.add_triggered():
        pass
    closure.check_conflicts()
    return tuple(closure.order)


class _Closure:
    def __init__(self, records: Iterable[IndexRecord], subject: str) -> None:
        self.order: list[IndexRecord] = []
        self.asked: set[str] = set()
        self.forbidden: list[tuple[Constraint, str]] = []
        self._subject = subject
        self._records = sorted(records, key=lambda record: record.info.name)
        self._chosen: dict[str, IndexRecord] = {}
        self._offers: dict[str, list[_Offer]] = {}
        for record in self._records:
            for offer in _offers_of(record):
                self._offers.setdefault(offer.name, []).append(offer)

    def satisfy(self, constraint: Constraint, asker: str) -> None:
        """Choose what answers `constraint`, with all that it needs."""
        if constraint.forbids or self._is_satisfied(constraint):
            return
        record = self._best(constraint, asker)
        self._chosen[record.info.name] = record
        for text in record.info.depends:
            need = read_constraint(text)
            if need.forbids:
                self.forbidden.append((need, record.info.name))
            self.satisfy(need, record.info.name)
        self.order.append(record)

    def add_triggered(self) -> bool:
        """Add the packages whose `install_if` holds now; whether there were any."""
        triggered = [
            record
            for record in self._records
            if record.info.install_if
            and record.info.name not in self._chosen
            and not self._is_forbidden(record)
            and all(self._is_satisfied(read_constraint(text)) for text in record.info.install_if)
        ]
        for record in triggered:
            exactly = read_constraint(f"{record.info.name}={record.info.version}")
            self.satisfy(exactly, f"install_if of {record.info.name}")
        return bool(triggered)

    def check_conflicts(self) -> None:
        """BuildError if two of the chosen exclude each other."""
        for constraint, asker in self.forbidden:
            for record in self.order:
                if record.info.name != asker and _answers(record, constraint):
                    raise BuildError(
                        self._subject,
                        f"{asker} excludes {constraint.name}, which "
                        f"{record.info.name}-{record.info.version} is or provides",
                        hint=_HINT,
                    )

    def _is_satisfied(self, constraint: Constraint) -> bool:
        return any(
            offer.record.info.name in self._chosen
            and self._chosen[offer.record.info.name] is offer.record
            and constraint.accepts(offer.version)
            for offer in self._offers.get(constraint.name, ())
        )

    def _best(self, constraint: Constraint, asker: str) -> IndexRecord:
        offers = self._offers.get(constraint.name, [])
        fitting = [
            offer
            for offer in offers
            if constraint.accepts(offer.version)
            and offer.record.info.name not in self._chosen
            and not self._is_forbidden(offer.record)
        ]
        if not fitting:
            known = ", ".join(
                f"{offer.record.info.name}-{offer.record.info.version}" for offer in offers
            )
            raise BuildError(
                self._subject,
                f"{asker} needs {constraint.text}, which cannot be had",
                expected="a package of the release that is it or provides it",
                got=f"{known}, of another version or excluded" if known else "none",
                hint=_HINT,
            )
        return max(fitting, key=self._preference).record

    def _preference(self, offer: _Offer) -> tuple[object, ...]:
        info = offer.record.info
        return (
            offer.is_package,
            info.name in self.asked,
            info.provider_priority or 0,
            version_key(info.version),
            # The first of equal names wins, and max() looks for the greatest.
            tuple(-ord(letter) for letter in info.name),
        )

    def _is_forbidden(self, record: IndexRecord) -> bool:
        return any(
            asker == "the recipe" and _answers(record, constraint)
            for constraint, asker in self.forbidden
        )


def _offers_of(record: IndexRecord) -> list[_Offer]:
    offers = [_Offer(record=record, name=record.info.name, version=record.info.version)]
    for text in record.info.provides:
        name, _, version = text.partition("=")
        offers.append(_Offer(record=record, name=name, version=version or None))
    return offers


def _answers(record: IndexRecord, constraint: Constraint) -> bool:
    return any(
        offer.name == constraint.name and constraint.accepts(offer.version)
        for offer in _offers_of(record)
    )
