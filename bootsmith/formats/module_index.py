"""depmod's text indexes after modules came in, without reading all the others.

The texts that are there say of every module what it needs and exports. So only modules
that are new, and those that need one that was replaced, have to be opened. For each line
the result is what depmod writes over the whole tree, but for two orders that decide
nothing: of the needs behind a colon (each still stands before what it needs itself) and
of the lines in modules.symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bootsmith.errors import FormatError
from bootsmith.formats.kernel_modules import ModuleCatalog, module_name, plain_module_path
from bootsmith.formats.module_facts import ModuleFacts

_DEVNAME_HEADING = "# Device nodes to trigger on-demand module loading."
_SYMBOL_ALIAS = "alias symbol:"

# Where the name of a module stands in a line of each text.
_NAME_WORDS = {
    "modules.alias": -1,
    "modules.symbols": -1,
    "modules.softdep": 1,
    "modules.weakdep": 1,
    "modules.devname": 0,
}
_GROWING = ("modules.dep", "modules.order", *_NAME_WORDS)


def add_modules(
    texts: Mapping[str, bytes],
    catalog: ModuleCatalog,
    added: Mapping[str, ModuleFacts],
    *,
    facts_of: Callable[[Sequence[str]], Mapping[str, ModuleFacts]],
    subject: str,
) -> dict[str, bytes]:
    """`texts` (whose catalog is `catalog`) with the modules `added`, by path.

    A module whose name is there already takes its place. `facts_of` reads modules that are
    there. Raises FormatError if a module needs what only a replaced one had, or itself.
    """
    names = {module_name(path) for path in added}
    gone = {path for name in names if (path := catalog.path_by_name.get(name))}
    owners = _owners(texts.get("modules.symbols", b""))
    needs = _Needs(catalog, added, subject)
    if not gone and _is_behind_all(added, texts):
        needs.set_direct(added, owners | _owners_of(added), owners)
        return _appended(texts, added, needs)
    stay = [path for path in catalog.dependencies if path not in gone]
    order = _order([*stay, *sorted(added)], texts.get("modules.order", b""))
    users = [path for path in stay if not gone.isdisjoint(catalog.dependencies[path])]
    facts = {**facts_of(users), **added}
    needs.set_direct(facts, _owners_after(owners, added, names), owners)
    lines = {name: _grouped(text, _NAME_WORDS[name]) for name, text in texts.items()
             if name in _NAME_WORDS}  # fmt: skip
    for groups in lines.values():
        for name in names:
            groups.pop(name, None)
    for path, module in added.items():
        for text_name, more in _lines_of(module_name(path), module).items():
            if more and text_name in lines:
                lines[text_name][module_name(path)] = more
    result = dict(texts)
    result["modules.dep"] = _join(needs.line(path) for path in order)
    for name, groups in lines.items():
        result[name] = _join(_ungrouped(name, groups, [module_name(path) for path in order]))
    if "modules.order" in texts:
        result["modules.order"] = _ordered(texts["modules.order"], added)
    return result


def _is_behind_all(added: Iterable[str], texts: Mapping[str, bytes]) -> bool:
    """Whether depmod has these modules behind all others, so that lines only come behind lines.

    Those in modules.order come first, and the texts are in that order already.
    """
    order = b"\n" + texts.get("modules.order", b"")
    is_listed = (b"\n%b\n" % _encoded(plain_module_path(path)) in order for path in added)
    are_whole = all(
        text.endswith(b"\n") for name, text in texts.items() if text and name in _GROWING
    )
    return are_whole and not any(is_listed)


def _appended(
    texts: Mapping[str, bytes], added: Mapping[str, ModuleFacts], needs: _Needs
) -> dict[str, bytes]:
    more: dict[str, list[str]] = {"modules.dep": [], "modules.order": []}
    for path in sorted(added):
        more["modules.dep"].append(needs.line(path))
        more["modules.order"].append(plain_module_path(path))
        for name, lines in _lines_of(module_name(path), added[path]).items():
            more.setdefault(name, []).extend(lines)
    if more["modules.devname"] and not texts.get("modules.devname"):
        more["modules.devname"].insert(0, _DEVNAME_HEADING)
    return {name: text + _join(more.get(name, ())) for name, text in texts.items()}


def _order(paths: Iterable[str], order_text: bytes) -> list[str]:
    """Paths in depmod's order: as modules.order lists them, the others behind as they come."""
    rank = {line: number for number, line in enumerate(_lines(order_text))}
    return sorted(paths, key=lambda path: rank.get(plain_module_path(path), len(rank)))


class _Needs:
    """Who needs whom: lines of the old text, and new ones for modules that are opened."""

    def __init__(self, catalog: ModuleCatalog, added: Iterable[str], subject: str) -> None:
        self._known = catalog.dependencies
        self._path_by_name = {**catalog.path_by_name, **{module_name(path): path for path in added}}
        self._direct: dict[str, list[str]] = {}
        self._closures: dict[str, tuple[str, ...]] = {}
        self._subject = subject

    def set_direct(
        self,
        facts: Mapping[str, ModuleFacts],
        owners: Mapping[str, str],
        owners_before: Mapping[str, str],
    ) -> None:
        """What each of these modules needs itself, by the symbols it does not define."""
        for path, module in facts.items():
            missing = [name for name in module.needs if name not in owners]
            for name in missing:
                if name in owners_before:
                    raise FormatError(
                        self._subject,
                        f"{path} needs {name}, which the new {owners_before[name]} does not export",
                        hint="add a build of it that goes with this kernel's other modules",
                    )
            needed = dict.fromkeys(owners[name] for name in module.needs if name in owners)
            needed.pop(module_name(path), None)
            self._direct[path] = [self._path_by_name[name] for name in needed]

    def line(self, path: str) -> str:
        """That of a module in modules.dep."""
        return f"{path}: {' '.join(self._closure(path, ()))}".rstrip()

    def _closure(self, path: str, above: tuple[str, ...]) -> tuple[str, ...]:
        if path not in self._direct:
            return self._known[path]
        if path in above:
            raise FormatError(
                self._subject,
                f"modules need each other in a circle: {' -> '.join((*above, path))}",
                hint="no kernel can load them; take one of them out",
            )
        if path not in self._closures:
            found: dict[str, None] = {}
            for needed in self._direct[path]:
                found[needed] = None
                found |= dict.fromkeys(self._closure(needed, (*above, path)))
            # What needs more stands first: modprobe loads from the end of the line.
            self._closures[path] = tuple(
                sorted(found, key=lambda one: -len(self._closure(one, (*above, path))))
            )
        return self._closures[path]


def _owners(text: bytes) -> dict[str, str]:
    """Symbol to the name of the module that exports it."""
    owners = {}
    for line in _lines(text):
        if line.startswith(_SYMBOL_ALIAS):
            symbol, _, name = line[len(_SYMBOL_ALIAS) :].rpartition(" ")
            owners[symbol] = name
    return owners


def _owners_after(
    owners: Mapping[str, str], added: Mapping[str, ModuleFacts], replaced_names: set[str]
) -> dict[str, str]:
    stay = {symbol: name for symbol, name in owners.items() if name not in replaced_names}
    return stay | _owners_of(added)


def _owners_of(added: Mapping[str, ModuleFacts]) -> dict[str, str]:
    return {symbol: module_name(path) for path, facts in added.items() for symbol in facts.exports}


def _grouped(text: bytes, word: int) -> dict[str, list[str]]:
    """Lines by the module they are of; comments under the empty name."""
    groups: dict[str, list[str]] = {"": []}
    for line in _lines(text):
        if line.startswith("#"):
            groups[""].append(line)
        else:
            name = line.rpartition(" ")[2] if word < 0 else line.split(" ", word + 1)[word]
            groups.setdefault(name, []).append(line)
    return groups


def _ungrouped(text_name: str, groups: dict[str, list[str]], order: Iterable[str]) -> list[str]:
    lines: list[str] = []
    if text_name == "modules.symbols":
        order = groups  # depmod's order is that of a hash table; ours is: new ones behind
    for name in order:
        lines += groups.get(name, ()) if name else ()
    if text_name == "modules.devname":  # depmod gives this one no heading if nothing follows
        return [_DEVNAME_HEADING, *lines] if lines else []
    return groups[""] + lines


def _lines_of(name: str, facts: ModuleFacts) -> dict[str, list[str]]:
    """The lines that one module adds to each text."""
    return {
        "modules.alias": [f"alias {alias} {name}" for alias in facts.values("alias")],
        "modules.symbols": [f"{_SYMBOL_ALIAS}{symbol} {name}" for symbol in facts.exports],
        "modules.softdep": [f"softdep {name} {value}" for value in facts.values("softdep")],
        "modules.weakdep": [f"weakdep {name} {value}" for value in facts.values("weakdep")],
        "modules.devname": _device_names(name, facts.values("alias")),
    }


def _device_names(name: str, aliases: Iterable[str]) -> list[str]:
    """One line for a module that says both a device's name and its numbers."""
    node = numbers = None
    for alias in aliases:
        if node is None and alias.startswith("devname:"):
            node = alias.removeprefix("devname:")
        for kind in ("char", "block"):
            parts = alias.split("-")
            if parts[:2] == [kind, "major"] and len(parts) == 4 and "".join(parts[2:]).isdecimal():
                numbers = f"{kind[0]}{parts[2]}:{parts[3]}"
        if node and numbers:
            return [f"{name} {node} {numbers}"]
    return []


def _ordered(text: bytes, added: Iterable[str]) -> bytes:
    """modules.order with the new paths behind, so that depmod run again gives the same."""
    lines = _lines(text)
    there = set(lines)
    plain = sorted(plain_module_path(path) for path in added)
    return _join([*lines, *(path for path in plain if path not in there)])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lines(text: bytes) -> list[str]:
    return [line for line in text.decode("utf-8", "surrogateescape").split("\n") if line]


def _join(lines: Iterable[str]) -> bytes:
    return _encoded("".join(f"{line}\n" for line in lines))
