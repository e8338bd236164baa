"""`doit publish`: bring a generation to every place that serves it, then let all serve it.

    look at every place ─> bring it to each, whole and verified ─> move `current` on each ─> prune

Nothing moves anywhere before it has arrived everywhere. What stops half-way is gone on with by
the next run, for each part asks what is there and not what was done.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.files.digest import sha256_of
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.generations.catalogue import Catalogue, Generation, Say, read_catalogue
from bootsmith.generations.history import order_of, read_moves, was_current
from bootsmith.generations.published import Published, read_published, write_published
from bootsmith.publish.contents import Contents, read_contents
from bootsmith.publish.delivery import Delivery, errors_of
from bootsmith.publish.local import LocalTransfer
from bootsmith.publish.place import AGAIN, INCOMING, NO_ROOM, Place, State, check_site, check_state
from bootsmith.publish.remote import RemoteTransfer
from bootsmith.publish.servers import lines_for_servers
from bootsmith.publish.targets import chosen_places
from bootsmith.publish.telling import (
    closing_line,
    document,
    first_of,
    half_flipped,
    plan_line,
    stop_unless_everywhere,
    stop_unless_pruned,
)
from bootsmith.publish.transfer import Progress, Transfer

_LOCK_NAME = "publish.lock"


def publish_generation(
    *,
    artifacts: Path,
    targets: Mapping[str, Mapping[str, Any]],
    generation: str | None,
    dry_run: bool,
    as_json: bool,
    say: Say,
    progress: Progress,
    remind: Say,
    take_over: bool = False,
    operands: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> None:
    """Deliver `generation` (None: what is current) to the targets named, or to all.

    `targets` is [publish] of the site: by name `directory` or `ssh`, `keep`, and what ssh needs.
    A place that serves another site is left alone, unless we are to `take_over`. PublishError
    tells which places have it and which serve it. `remind` says which servers there have to
    read changed configurations.
    """
    places = chosen_places(targets, operands, artifacts)
    contents = read_contents(_chosen_generation(artifacts, generation))
    with _alone(artifacts), ExitStack() as connections:
        deliveries = [_look(place, contents, progress, connections, artifacts) for place in places]
        for delivery in () if take_over else deliveries:
            check_site(delivery.place, delivery.state, contents.site)
        try:
            if dry_run:
                _estimate(contents, deliveries)
            else:
                _deliver(contents, deliveries, artifacts, progress, clock)
        finally:
            if as_json:
                say(document(contents, deliveries, dry_run=dry_run))
    line = plan_line if dry_run else closing_line
    for delivery in deliveries:
        if not as_json:
            say(line(delivery, contents))
    if not as_json and not dry_run:
        for news in lines_for_servers(read_catalogue(artifacts), contents, deliveries):
            remind(news)
    stop_unless_pruned(deliveries)


def _deliver(
    contents: Contents,
    deliveries: Sequence[Delivery],
    artifacts: Path,
    progress: Progress,
    clock: Callable[[], float],
) -> None:
    for delivery in deliveries:
        with _timed(delivery):
            _bring(delivery, contents)
    stop_unless_everywhere(contents, deliveries)
    for delivery in deliveries:
        progress(f"{delivery.place.name}: moving current", 0, None)
        with _timed(delivery):
            _flip(delivery, contents, deliveries)
        _remember(delivery, contents, artifacts, int(clock()))
    for delivery in deliveries:
        progress(f"{delivery.place.name}: removing old generations", 0, None)
        with _timed(delivery):
            _prune(delivery, contents, artifacts)


def _chosen_generation(artifacts: Path, word: str | None) -> Generation:
    catalogue = read_catalogue(artifacts)
    generation = catalogue.find(word or "current")
    if generation.id != catalogue.current and not _was_proven(catalogue, generation):
        raise PublishError(
            generation.id,
            "never passed its gate: it was not current here",
            hint="put it through: doit promote, or doit release with its boots"
            if generation.id == catalogue.latest
            else "doit generations shows which did",
        )
    return generation


def _was_proven(catalogue: Catalogue, generation: Generation) -> bool:
    """Machines get what was current at home; of a time before the record, what is older."""
    moves = read_moves(catalogue.artifacts)
    if moves:
        return generation.id in was_current(moves)
    return catalogue.current is not None and order_of(generation.id) < order_of(catalogue.current)


@contextmanager
def _alone(artifacts: Path) -> Iterator[None]:
    """Not beside another `doit publish`; builds and rollbacks go on."""
    with open(artifacts / _LOCK_NAME, "a", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PublishError(
                "doit publish", "another one is at work", hint="wait until it has ended"
            ) from None
        yield


@contextmanager
def _timed(delivery: Delivery) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        delivery.seconds += time.monotonic() - began


def _look(
    place: Place,
    contents: Contents,
    progress: Progress,
    connections: ExitStack,
    artifacts: Path,
) -> Delivery:
    """What is there; a place that cannot be used stops everything, before anything is sent."""
    progress(f"{place.name}: looking", 0, None)
    with errors_of(place):
        place = connections.enter_context(place.connected(artifacts))
        state = place.survey(contents.id)
        check_state(place, state, contents.id, contents.manifest_sha256)
    transfer: Transfer
    if place.login is None:
        transfer = LocalTransfer(
            contents=contents, place=Path(place.directory), name=place.name, progress=progress
        )
    else:
        transfer = RemoteTransfer(
            contents=contents, place=place, login=place.login, progress=progress
        )
    return Delivery(place=place, transfer=transfer, state=state)


def _estimate(contents: Contents, deliveries: Sequence[Delivery]) -> None:
    """What a run would send; nothing is changed."""
    for delivery in deliveries:
        delivery.is_there = delivery.state.has_generation
        delivery.is_current = delivery.was == contents.id
        if not delivery.is_there:
            with errors_of(delivery.place):
                delivery.sent_bytes = _still_to_send(delivery, delivery.state, contents)


def _bring(delivery: Delivery, contents: Contents) -> None:
    """All of it to one place, verified there; `trouble` tells why not."""
    try:
        with errors_of(delivery.place):
            _bring_whole(delivery, contents)
        delivery.is_there = True
    except PublishError as error:
        delivery.trouble = _with_sizes(error, delivery, contents)


def _with_sizes(error: PublishError, delivery: Delivery, contents: Contents) -> PublishError:
    """The same; of a full disk with how much is free and needed, if the place still answers."""
    if NO_ROOM not in error.problem:
        return error
    try:
        with errors_of(delivery.place):
            state = delivery.place.survey(contents.id)
            needed_bytes = _still_to_send(delivery, state, contents)
    except BootsmithError:
        return error
    if state.free_bytes is None:
        return error
    return delivery.place.error(
        error.problem,
        expected=f"room for at most {human_bytes(needed_bytes)} more",
        got=f"{human_bytes(state.free_bytes)} free",
        hint=error.hint or f"free some room there, then {AGAIN}",
    )


def _still_to_send(delivery: Delivery, state: State, contents: Contents) -> int:
    """Bytes, at most."""
    path = f"generations/{INCOMING}{contents.id}"
    return delivery.transfer.would_send(path, [*[path] * state.has_begun, *_earlier(state)])


def _bring_whole(delivery: Delivery, contents: Contents) -> None:
    place, transfer, state = delivery.place, delivery.transfer, delivery.state
    place.prepare(contents.id)
    path = f"generations/{contents.id}"
    if not state.has_generation:
        path = f"generations/{INCOMING}{contents.id}"
        delivery.sent_bytes += transfer.send(path, _earlier(state))
    wrong = transfer.find_wrong(path)
    found = tuple(wrong)
    if wrong:
        # What has the right size and time and yet other bytes, or was changed since.
        delivery.sent_bytes += transfer.mend(path, wrong)
        wrong = transfer.find_wrong(path)
    if wrong:
        raise _not_equal(place, contents, wrong)
    if not state.has_generation:
        place.install(contents.id)
    else:
        delivery.mended = found


def _earlier(state: State) -> list[str]:
    """Generations there whose files can be had again: what is served, then the newest."""
    ids = sorted(state.ids, key=lambda name: (name == state.current, order_of(name)), reverse=True)
    return [f"generations/{name}" for name in ids]


def _not_equal(place: Place, contents: Contents, wrong: Sequence[str]) -> PublishError:
    for name in wrong:
        file = contents.files.get(name)
        if file is not None and sha256_of(contents.directory / name) != file.sha256:
            return place.error(
                f"cannot get {name}, which is damaged here at home",
                hint=f"doit verify --repair {contents.id}, then doit publish again",
            )
    return place.error(
        "what arrived is not what was sent, twice",
        got=first_of(wrong),
        hint="look at the kernel's log there (dmesg): the disk may be failing, or somebody "
        "writes below generations/",
    )


def _flip(delivery: Delivery, contents: Contents, deliveries: Sequence[Delivery]) -> None:
    if delivery.was != contents.id:
        try:
            with errors_of(delivery.place):
                delivery.place.flip(contents.id)
        except PublishError as error:
            delivery.trouble = error
            raise half_flipped(delivery, error, contents, deliveries) from error
    delivery.is_current = True


def _remember(delivery: Delivery, contents: Contents, artifacts: Path, now_epoch: int) -> None:
    records = read_published(artifacts)
    records[delivery.place.name] = Published(
        place=delivery.place.where,
        current=contents.id,
        before=_one_before(delivery, contents, artifacts),
        at_epoch=now_epoch,
    )
    write_published(artifacts, records)


def _prune(delivery: Delivery, contents: Contents, artifacts: Path) -> None:
    """Remove old generations there; trouble with that does not undo what was delivered."""
    ids = sorted({*delivery.state.ids, contents.id}, key=order_of)
    kept = {contents.id, _one_before(delivery, contents, artifacts), *ids[-delivery.place.keep :]}
    gone = tuple(name for name in ids if name not in kept)
    try:
        with errors_of(delivery.place):
            delivery.place.prune(gone)
        delivery.pruned = gone
    except PublishError as error:
        delivery.trouble = error


def _one_before(delivery: Delivery, contents: Contents, artifacts: Path) -> str | None:
    """What the place served before `contents`, as it says or as we remember it."""
    if delivery.was != contents.id:
        return delivery.was
    known = read_published(artifacts).get(delivery.place.name)
    if known is not None and known.current == contents.id and known.place == delivery.place.where:
        return known.before
    older = [name for name in delivery.state.ids if order_of(name) < order_of(contents.id)]
    return older[-1] if older else None
