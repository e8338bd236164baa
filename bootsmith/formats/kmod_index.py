"""The binary indexes that libkmod reads: `modules.dep.bin`, `modules.alias.bin` and so on.

Facts: kmod's libkmod/libkmod-index.c (reader) and tools/depmod.c (writer). A file is the
magic, a version and the position of the root of a compressed trie. A node is, each part
only if its flag is set in the position that leads to it: a NUL-terminated prefix; the
first and last child letter with a position for each letter between; the values, each a
priority and a NUL-terminated text. Numbers are big-endian.

The bytes written here are those of the depmod in Debian 12 (kmod 30): children before
their parent, the root last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from struct import Struct
from struct import error as struct_error

from bootsmith.errors import FormatError
from bootsmith.formats.kernel_modules import builtin_aliases, module_name, normalize_alias

_MAGIC = 0xB007F457
_VERSION = 0x00020001
_HEADER = Struct(">3I")
_NUMBER = Struct(">I")
_PREFIX, _VALUES, _CHILDREN = 0x80000000, 0x40000000, 0x20000000
_POSITION = 0x0FFFFFFF

_TEXT_OF = {
    "modules.dep.bin": "modules.dep",
    "modules.alias.bin": "modules.alias",
    "modules.symbols.bin": "modules.symbols",
    "modules.builtin.bin": "modules.builtin",
    "modules.builtin.alias.bin": "modules.builtin.modinfo",
}
BINARY_INDEXES = tuple(_TEXT_OF)

Item = tuple[str, str, int]
"""One (key, value, priority); the lower priority is looked at first."""


def write_index(items: Iterable[Item], *, subject: str = "module index") -> bytes:
    """The index file of `items`, which come in depmod's order of insertion.

    Values of one key are stored by rising priority, the later one first among equals, as
    depmod inserts them. Keys and values must be ASCII (libkmod's node has 128 letters).
    """
    values: dict[bytes, list[tuple[int, bytes]]] = {}
    for key, value, priority in items:
        try:
            values.setdefault(key.encode("ascii"), []).append((priority, value.encode("ascii")))
        except UnicodeEncodeError:
            raise FormatError(
                subject,
                f"{key!r} is not plain ASCII, which module indexes are limited to",
                hint="leave out the module that says it",
            ) from None
    for key_values in values.values():
        key_values.reverse()
        key_values.sort(key=lambda item: item[0])  # stable: the later one stays first
    writer = _Writer(values)
    root = writer.write(sorted(values), 0, 0)
    return _HEADER.pack(_MAGIC, _VERSION, root) + b"".join(writer.parts)


class _Writer:
    """Writes nodes, children first, and knows where it stands in the file."""

    def __init__(self, values: Mapping[bytes, list[tuple[int, bytes]]]) -> None:
        self.parts: list[bytes] = []
        self._values = values
        self._at = _HEADER.size

    def write(self, keys: list[bytes], depth: int, start: int) -> int:
        """Write the node of `keys`, equal up to `depth`; its prefix begins at `start`.

        Returns its position with the flags of the parts it has.
        """
        children = []
        has_values = bool(keys) and len(keys[0]) == depth
        rest = keys[1:] if has_values else keys
        first = 0
        while first < len(rest):
            letter = rest[first][depth]
            behind = _behind_letter(rest, first, depth, letter)
            group = rest[first:behind]
            if len(group) == 1:  # most are: no need to look for what is common
                child = self._write_leaf(group[0], depth + 1)
            else:
                child = self.write(group, _common_length(group), depth + 1)
            children.append((letter, child))
            first = behind
        parts, flags = [], 0
        if depth > start:
            parts.append(keys[0][start:depth] + b"\0")
            flags |= _PREFIX
        if children:
            parts.append(_child_table(children))
            flags |= _CHILDREN
        if has_values:
            parts.append(_value_table(self._values[keys[0]]))
            flags |= _VALUES
        return self._put(b"".join(parts)) | flags

    def _write_leaf(self, key: bytes, start: int) -> int:
        values = _value_table(self._values[key])
        if len(key) == start:
            return self._put(values) | _VALUES
        return self._put(key[start:] + b"\0" + values) | _PREFIX | _VALUES

    def _put(self, node: bytes) -> int:
        position = self._at
        self.parts.append(node)
        self._at += len(node)
        return position


def _behind_letter(keys: list[bytes], first: int, depth: int, letter: int) -> int:
    """Where the run of keys with `letter` at `depth` ends; keys are sorted."""
    low, high = first + 1, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle][depth] == letter:
            low = middle + 1
        else:
            high = middle
    return low


def _common_length(keys: list[bytes]) -> int:
    """Length of the common prefix of sorted `keys`: that of the first and the last."""
    one, other = keys[0], keys[-1]
    limit = min(len(one), len(other))
    length = 0
    while length < limit and one[length] == other[length]:
        length += 1
    return length


def _child_table(children: list[tuple[int, int]]) -> bytes:
    first, last = children[0][0], children[-1][0]
    positions = [0] * (last - first + 1)
    for letter, position in children:
        positions[letter - first] = position
    return bytes((first, last)) + Struct(f">{len(positions)}I").pack(*positions)


def _value_table(values: list[tuple[int, bytes]]) -> bytes:
    parts = [_NUMBER.pack(len(values))]
    for priority, value in values:
        parts += (_NUMBER.pack(priority), value, b"\0")
    return b"".join(parts)


def read_index(data: bytes, *, subject: str = "module index") -> list[Item]:
    """All (key, value, priority) of an index file, keys sorted, values in stored order."""
    try:
        magic, version, root = _HEADER.unpack_from(data)
        if magic != _MAGIC or version >> 16 != _VERSION >> 16:
            raise FormatError(
                subject,
                "no kmod index",
                expected=f"magic {_MAGIC:08x} and version 2",
                got=f"{magic:08x} and {version >> 16}",
                hint="run depmod over the modules again",
            )
        items: list[Item] = []
        _collect(data, root, b"", items, set())
        return items
    except (struct_error, IndexError, ValueError):
        raise FormatError(
            subject,
            "damaged kmod index: a node lies beyond the file",
            hint="run depmod over the modules again",
        ) from None


def _collect(data: bytes, position: int, key: bytes, items: list[Item], path: set[int]) -> None:
    at = position & _POSITION
    if at in path:
        raise ValueError("a node is its own child")
    if position & _PREFIX:
        end = data.index(b"\0", at)
        key += data[at:end]
        at = end + 1
    children = []
    if position & _CHILDREN:
        first, last = data[at], data[at + 1]
        table = Struct(f">{last - first + 1}I")
        children = list(enumerate(table.unpack_from(data, at + 2), first))
        at += 2 + table.size
    if position & _VALUES:
        (count,) = _NUMBER.unpack_from(data, at)
        at += 4
        for _ in range(count):
            (priority,) = _NUMBER.unpack_from(data, at)
            end = data.index(b"\0", at + 4)
            items.append((key.decode("ascii"), data[at + 4 : end].decode("ascii"), priority))
            at = end + 1
    for letter, child in children:
        if child:
            deeper = path | {position & _POSITION}
            _collect(data, child, key + bytes((letter,)), items, deeper)


def write_binary_indexes(
    texts: Mapping[str, bytes], names: Iterable[str] = BINARY_INDEXES
) -> dict[str, bytes]:
    """The `.bin` files that depmod would write beside these text indexes, those in `names`.

    `texts` maps `modules.dep`, `modules.alias`, `modules.symbols`, `modules.builtin` and
    `modules.builtin.modinfo` (the last two as the kernel's build makes them) to their
    bytes; what is missing counts as empty. A module's priority is its line in modules.dep.
    """
    lines = {name: _lines(texts.get(name, b"")) for name in ("modules.dep", "modules.builtin")}
    priorities = {
        module_name(line.partition(":")[0]): number
        for number, line in enumerate(lines["modules.dep"])
    }
    items: dict[str, Callable[[], Iterable[Item]]] = {
        # depmod leaves no blank behind the colon of a module without dependencies
        "modules.dep.bin": lambda: (
            (module_name(line.partition(":")[0]), line, number)
            for number, line in enumerate(lines["modules.dep"])
        ),
        "modules.alias.bin": lambda: _alias_items(
            texts.get("modules.alias", b""), priorities, normalize=True
        ),
        "modules.symbols.bin": lambda: _alias_items(
            texts.get("modules.symbols", b""), priorities, normalize=False
        ),
        "modules.builtin.bin": lambda: (
            (module_name(line), "", 0) for line in lines["modules.builtin"] if line[0].isalpha()
        ),
        "modules.builtin.alias.bin": lambda: (
            (alias, name, 0)
            for name, alias in builtin_aliases(texts.get("modules.builtin.modinfo", b""))
        ),
    }
    return {name: write_index(items[name](), subject=_TEXT_OF[name]) for name in names}


def _alias_items(text: bytes, priorities: Mapping[str, int], *, normalize: bool) -> list[Item]:
    items = []
    for line in _lines(text):
        if not line.startswith("alias "):
            continue
        pattern, _, name = line[6:].rpartition(" ")
        key = normalize_alias(pattern) if normalize else pattern
        if key is not None and name in priorities:
            items.append((key, name, priorities[name]))
    return items


def _lines(text: bytes) -> list[str]:
    return [line for line in text.decode("utf-8", "surrogateescape").split("\n") if line]
