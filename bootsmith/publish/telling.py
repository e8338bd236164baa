"""What `doit publish` says: how it ended at each place, and what to do where it did not."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.publish.contents import Contents
from bootsmith.publish.delivery import Delivery, errors_of

_SHOWN_NAMES = 3


def stop_unless_everywhere(contents: Contents, deliveries: Sequence[Delivery]) -> None:
    """PublishError where a place does not have the generation: then none is to serve it."""
    failed = [delivery for delivery in deliveries if delivery.trouble is not None]
    if not failed:
        return
    if len(deliveries) == 1 and failed[0].trouble is not None:
        raise failed[0].trouble
    lines = []
    for delivery in deliveries:
        trouble = delivery.trouble
        if trouble is None:
            lines.append(f"{delivery.place.shown}: {_waits(delivery, contents)}")
        else:
            lines.append(f"{trouble.message}; next: {trouble.hint}")
    raise PublishError(
        contents.id,
        _listed("did not arrive everywhere, so every place serves what it served", lines),
        hint=f"see to {', '.join(delivery.place.name for delivery in failed)}, then doit "
        "publish again: it goes on from what is there",
    )


def half_flipped(
    failed: Delivery, trouble: PublishError, contents: Contents, deliveries: Sequence[Delivery]
) -> PublishError:
    """What to raise where some places serve the generation and `failed` does not, or may not."""
    lines = []
    for delivery in deliveries:
        if delivery is failed:
            told = _asked_again(delivery, contents)
        elif delivery.is_current:
            told = f"serves {contents.id}"
        else:
            told = _waits(delivery, contents)
        lines.append(f"{delivery.place.shown}: {told}")
    back = f"; to go back: doit publish --generation {failed.was}" if failed.was else ""
    return PublishError(
        contents.id,
        _listed(f"is not served everywhere: {trouble.message}", lines),
        hint=f"to go on: {trouble.hint}; doit publish does the rest{back}",
    )


def stop_unless_pruned(deliveries: Sequence[Delivery]) -> None:
    """PublishError where old generations are still there; what was delivered is served."""
    for delivery in deliveries:
        if delivery.trouble is not None:
            raise delivery.place.error(
                f"serves it, but old generations could not be removed: {delivery.trouble.problem}",
                got=delivery.trouble.got,
                hint=f"{delivery.trouble.hint}; the next doit publish tries again",
            )


def _listed(heading: str, lines: Sequence[str]) -> str:
    return "\n".join([heading, *(f"    {line}" for line in lines)])


def _waits(delivery: Delivery, contents: Contents) -> str:
    return f"has {contents.id}, and serves {served(delivery)}"


def _asked_again(delivery: Delivery, contents: Contents) -> str:
    """What a place serves after its flip failed: a broken connection does not tell."""
    try:
        with errors_of(delivery.place):
            now = delivery.place.survey(contents.id).current
    except BootsmithError:
        return f"cannot be asked; it served {served(delivery)}, and may serve {contents.id} now"
    return f"has {contents.id}, and serves {now or 'nothing'}"


def served(delivery: Delivery) -> str:
    """What a place served when we came, in words."""
    return delivery.was or "nothing"


def closing_line(delivery: Delivery, contents: Contents) -> str:
    """`rack-2: serves 2026-11-21.1, was 2026-11-20.1; 312 files, ...`."""
    was = "as before" if delivery.was == contents.id else f"was {served(delivery)}"
    removed = f"; removed {', '.join(delivery.pruned)}" if delivery.pruned else ""
    mended = (
        f"; mended {len(delivery.mended)}: {first_of(delivery.mended)}" if delivery.mended else ""
    )
    return (
        f"{delivery.place.name}: serves {contents.id}, {was}; "
        f"{len(contents.files)} files and {len(contents.links)} links, "
        f"{human_bytes(delivery.sent_bytes)} sent, "
        f"{human_bytes(_shared_bytes(delivery, contents))} shared, "
        f"{delivery.seconds:.1f} s{mended}{removed}"
    )


def first_of(names: Sequence[str]) -> str:
    """`a, b, c and 2 more`."""
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return f"{', '.join(names[:_SHOWN_NAMES])}{more}"


def plan_line(delivery: Delivery, contents: Contents) -> str:
    """The same of a dry run, and what it knows to be in the way."""
    return f"{delivery.place.name}: {_plan(delivery, contents)}{_doubts(delivery)}"


def _plan(delivery: Delivery, contents: Contents) -> str:
    was = served(delivery)
    if delivery.was == contents.id:
        return f"serves {contents.id} already; it would be read and compared"
    if delivery.is_there:
        return f"has {contents.id}; it would be read, then served instead of {was}"
    return (
        f"would be sent at most {human_bytes(delivery.sent_bytes)} of "
        f"{human_bytes(contents.content_bytes)}, then serve {contents.id} instead of {was}"
    )


def _doubts(delivery: Delivery) -> str:
    state, doubts = delivery.state, ""
    if state.unwritable:
        doubts += f"\n  warning: this user cannot write in {state.unwritable} there"
    if state.free_bytes is not None and state.free_bytes < delivery.sent_bytes:
        doubts += (
            f"\n  warning: {human_bytes(state.free_bytes)} are free there, which may be "
            f"{human_bytes(delivery.sent_bytes - state.free_bytes)} too little"
        )
    return doubts


def document(contents: Contents, deliveries: Sequence[Delivery], *, dry_run: bool = False) -> str:
    """All of it as JSON; sizes in bytes. Of a dry run `sent_bytes` is what would be sent."""
    targets = [
        {
            "name": delivery.place.name,
            "place": delivery.place.where,
            "was": delivery.was,
            "is_there": delivery.is_there,
            "is_current": delivery.is_current,
            "sent_bytes": delivery.sent_bytes,
            "shared_bytes": _shared_bytes(delivery, contents),
            "seconds": round(delivery.seconds, 3),
            "free_bytes": delivery.state.free_bytes,
            "unwritable": delivery.state.unwritable,
            "mended": delivery.mended,
            "pruned": delivery.pruned,
            "trouble": delivery.trouble.message if delivery.trouble else None,
        }
        for delivery in deliveries
    ]
    words = {
        "schema": 1,
        "generation": contents.id,
        "dry_run": dry_run,
        "files": len(contents.files),
        "links": len(contents.links),
        "content_bytes": contents.content_bytes,
        "targets": targets,
    }
    return json.dumps(words, indent=1)


def _shared_bytes(delivery: Delivery, contents: Contents) -> int:
    """What was there already; what is said about files counts as sent, so never below zero."""
    return max(0, contents.content_bytes - delivery.sent_bytes)
