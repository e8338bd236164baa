"""What is different between two netboot trees: hosts by name, then names by directory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from bootsmith.errors import BootsmithError
from bootsmith.formats.arming import HOOK_INVENTORY
from bootsmith.formats.inventory import Host, Inventory, Role, Rule, read_inventory
from bootsmith.formats.netboot_names import apkovl_name
from bootsmith.formats.netboot_tree import NETBOOT, NetbootTree
from bootsmith.generations.catalogue import Generation
from bootsmith.generations.digests import Progress
from bootsmith.generations.overlay_changes import overlay_changes
from bootsmith.generations.sections import Changes, Section, compare, some

_MOST_OVERLAYS = 20
"""Of single hosts; the hosts themselves are all listed."""
_MOST_TEXT_BYTES = 4 << 20
_UNKNOWN = "unknown machines"


def netboot_sections(
    before: Generation, after: Generation, progress: Progress
) -> Iterator[Section]:
    """Sections of what is served to machines and of whom it is served to."""
    was, now = before.tree, after.tree
    if was == now:
        return
    old, new = (_inventory(generation) for generation in (before, after))
    if old is not None and new is not None:
        hosts = compare(_hosts(old), _hosts(new))
        yield from some("hosts", "", _only_what_differs(hosts), is_of_many=True)
        yield from some("MAC prefixes", "", _only_what_differs(compare(_rules(old), _rules(new))))
        yield from _overlays(before, after, new, progress)
    yield from _names(before, after, was, now)


# --- who it is served to --------------------------------------------------------------------


def _inventory(generation: Generation) -> Inventory | None:
    """None where none was published, or none that can be read."""
    path = generation.directory / NETBOOT / HOOK_INVENTORY
    try:
        return read_inventory(path.read_bytes(), subject=path)
    except (OSError, BootsmithError):
        return None


def _hosts(inventory: Inventory) -> dict[str, dict[str, str]]:
    return {host.name: _said(host) for host in inventory.hosts}


def _rules(inventory: Inventory) -> dict[str, dict[str, str]]:
    rules = {rule.prefix: _said(rule) for rule in inventory.rules}
    return {_UNKNOWN: _said(inventory.unknown), **rules}


def _said(role: Role | Rule | Host) -> dict[str, str]:
    """What is said of it, but for its name."""
    values = {one.name: getattr(role, one.name) for one in fields(role)}
    for name in ("name", "prefix"):
        values.pop(name, None)
    own = values.pop("values", {})
    said = {name: _word(value) for name, value in values.items() if value not in (None, ())}
    return {**said, **{f"values.{name}": value for name, value in sorted(own.items())}}


def _word(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _only_what_differs(changes: Changes) -> Changes:
    """Of those that stayed, the keys that changed; of the others, card and template."""

    def brief(said: Mapping[str, str]) -> str:
        return " ".join(said[name] for name in ("mac", "template") if name in said)

    return Changes(
        added={name: brief(said) for name, said in changes.added.items()},
        removed={name: brief(said) for name, said in changes.removed.items()},
        changed={name: _pair(*pair) for name, pair in changes.changed.items()},
    )


def _pair(was: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, str]:
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    old, new = (", ".join(f"{name} {said.get(name, '-')}" for name in names) for said in (was, now))
    return old, new


def _overlays(
    before: Generation, after: Generation, inventory: Inventory, progress: Progress
) -> Iterator[Section]:
    """What changed in the archives of single hosts, of the first of them."""
    was, now = before.tree.files, after.tree.files
    paths = {host.name: f"http/{apkovl_name(host.mac)}" for host in inventory.hosts}
    changed = [
        (name, path)
        for name, path in paths.items()
        if path in was and path in now and was[path] != now[path]
    ]
    for number, (name, path) in enumerate(changed[:_MOST_OVERLAYS]):
        progress(f"comparing the overlay of {name}", number, len(changed))
        old, new = (generation.directory / NETBOOT / path for generation in (before, after))
        try:
            yield from some("overlay", name, overlay_changes(old, new))
        except (BootsmithError, OSError) as error:
            trouble = error.message if isinstance(error, BootsmithError) else str(error)
            yield Section(aspect="overlay", subject=name, changes=Changes(), trouble=trouble)


# --- what is served --------------------------------------------------------------------------


def _names(
    before: Generation, after: Generation, was: NetbootTree, now: NetbootTree
) -> Iterator[Section]:
    """One section a directory; the inventory is told by its hosts."""
    changes = compare(_by_path(was), _by_path(now))
    values = {"added": changes.added, "removed": changes.removed}
    values["changed"] = {
        path: _lines_that_differ(_text(path, before, was), _text(path, after, now)) or pair
        for path, pair in changes.changed.items()
        if path != HOOK_INVENTORY
    }
    sections: dict[str, dict[str, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for kind, found in values.items():
        for path, value in found.items():
            directory, _, name = path.rpartition("/")
            sections[directory][kind][name] = value
    for directory in sorted(sections):
        yield from some(NETBOOT, directory, Changes(**sections[directory]), is_of_many=True)


def _by_path(tree: NetbootTree) -> dict[str, Any]:
    values: dict[str, Any] = {path: {"link": target} for path, target in tree.links.items()}
    values |= {path: file._asdict() for path, file in tree.files.items()}
    values |= {path: {"text": text, "size_bytes": len(text)} for path, text in tree.texts.items()}
    return values


def _lines_that_differ(old: str | None, new: str | None) -> tuple[Any, Any] | None:
    """None for what is no text on both sides."""
    if old is None or new is None:
        return None
    before, after = Counter(old.splitlines()), Counter(new.splitlines())
    return (
        {"lines": list((before - after).elements())},
        {"lines": list((after - before).elements())},
    )


def _text(path: str, generation: Generation, tree: NetbootTree) -> str | None:
    """As the steps wrote it; None for what is no text, or too long to be read by anyone."""
    if path in tree.texts:
        return tree.texts[path]
    file = tree.files.get(path)
    if file is None or file.size_bytes > _MOST_TEXT_BYTES:
        return None
    try:
        text = (generation.directory / NETBOOT / path).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else text
