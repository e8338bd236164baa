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

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from struct import Struct
from struct import error as struct_error

from bootsmith.errors import FormatError
from bootsmith.formats.kernel_modules import builtin_aliases, module_name, normalize_alias

_MAGIC = 0xB007F457
_VERSION = 0x00020001
_HEADER = Struct(">3I")
_NUMBER = Struct(">I")
_ONE = _NUMBER.pack(1)
# By how far the last letter is from the first.
_CHILD_TABLES = tuple(Struct(f">2B{letters}I") for letters in range(1, 129))
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
    pairs = [
        (_encoded(key), _packed_value(_encoded(value), priority)) for key, value, priority in items
    ]
    for key, value in pairs:
        _check_ascii(key, value, subject)
    return _write(_value_tables(pairs))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _packed_value(value: bytes, priority: int) -> bytes:
    return _NUMBER.pack(priority) + value + b"\0"


def _check_ascii(key: bytes, packed_value: bytes, subject: str) -> None:
    if not key.isascii() or not packed_value[_NUMBER.size :].isascii():
        raise FormatError(
            subject,
            f"{key.decode('utf-8', 'surrogateescape')!r} is not plain ASCII, which module "
            "indexes are limited to",
            hint="leave out the module that says it",
        )


def _value_tables(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Each key to its table of packed values."""
    tables: dict[bytes, bytes] = {}
    several: dict[bytes, list[bytes]] = {}  # few have more than one: only those are sorted
    for key, value in pairs:
        if key in several:
            several[key].append(value)
        elif key in tables:
            several[key] = [tables[key][_NUMBER.size :], value]
        else:
            tables[key] = _ONE + value
    for key, values in several.items():
        values.reverse()
        values.sort(key=_priority_bytes)  # stable: the later one stays first
        tables[key] = _NUMBER.pack(len(values)) + b"".join(values)
    return tables


def _priority_bytes(packed_value: bytes) -> bytes:
    return packed_value[: _NUMBER.size]


def _write(tables: Mapping[bytes, bytes]) -> bytes:
    """The index file of keys and their tables of values."""
    writer = _Writer(tables)
    root = writer.write(0, len(tables), 0, 0)
    return _HEADER.pack(_MAGIC, _VERSION, root) + b"".join(writer.parts)


class _Writer:
    """Writes nodes, children first, and knows where it stands in the file.

    Tens of thousands of nodes: what is written out at length here saves calls.
    """

    def __init__(self, tables: Mapping[bytes, bytes]) -> None:
        self.parts: list[bytes] = []
        self._keys = sorted(tables)
        self._tables = [tables[key] for key in self._keys]
        self._at = _HEADER.size

    def write(self, first: int, end: int, depth: int, start: int) -> int:
        """Write the node of the keys from `first` to before `end`, which are equal up to `depth`.

        Its prefix begins at `start`. Returns its position with the flags of the parts it has.
        """
        keys = self._keys
        has_values = first < end and len(keys[first]) == depth
        children = []
        at = first + has_values
        while at < end:
            key = keys[at]
            letter = key[depth]
            behind = at + 1
            if behind < end and keys[behind][depth] == letter:
                behind = self._behind_letter(at, end, depth)
                common = _common_length(key, keys[behind - 1], depth + 1)
                children.append((letter, self.write(at, behind, common, depth + 1)))
            else:  # most are alone: no need to look for what is common
                children.append((letter, self._write_leaf(at, depth + 1)))
            at = behind
        node, flags = b"", 0
        if depth > start:
            node = keys[first][start:depth] + b"\0"
            flags |= _PREFIX
        if children:
            node += _child_table(children)
            flags |= _CHILDREN
        if has_values:
            node += self._tables[first]
            flags |= _VALUES
        self.parts.append(node)
        position = self._at
        self._at += len(node)
        return position | flags

    def _write_leaf(self, at: int, start: int) -> int:
        position, node = self._at | _VALUES, self._tables[at]
        prefix = self._keys[at][start:]
        if prefix:
            position, node = position | _PREFIX, prefix + b"\0" + node
        self.parts.append(node)
        self._at += len(node)
        return position

    def _behind_letter(self, first: int, end: int, depth: int) -> int:
        """Where the run of keys that are equal to the first one up to and at `depth` ends."""
        key = self._keys[first]
        if self._keys[end - 1][depth] == key[depth]:
            return end
        return bisect_left(self._keys, key[:depth] + bytes((key[depth] + 1,)), first, end)


def _common_length(one: bytes, other: bytes, length: int) -> int:
    """Length of the common prefix, if the first `length` bytes are known to be."""
    limit = min(len(one), len(other))
    while length < limit and one[length] == other[length]:
        length += 1
    return length


def _child_table(children: list[tuple[int, int]]) -> bytes:
    first, last = children[0][0], children[-1][0]
    positions = [0] * (last - first + 1)
    for letter, position in children:
        positions[letter - first] = position
    return _CHILD_TABLES[last - first].pack(first, last, *positions)


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
    prefix, children, values = _read_node(data, position)
    key += prefix
    for value in values:
        (priority,) = _NUMBER.unpack_from(value)
        text = value[_NUMBER.size : -1]
        items.append((key.decode("ascii"), text.decode("ascii"), priority))
    for letter, child in children.items():
        _collect(data, child, key + bytes((letter,)), items, path | {at})


_Node = tuple[bytes, dict[int, int], list[bytes]]
"""Prefix, positions of the children by letter, and packed values of one node."""


def _read_node(data: bytes, position: int) -> _Node:
    at = position & _POSITION
    prefix, values = b"", []
    children = {}
    if position & _PREFIX:
        end = data.index(b"\0", at)
        prefix = data[at:end]
        at = end + 1
    if position & _CHILDREN:
        first, last = data[at], data[at + 1]
        table = Struct(f">{last - first + 1}I")
        found = table.unpack_from(data, at + 2)
        children = {letter: child for letter, child in enumerate(found, first) if child}
        at += 2 + table.size
    if position & _VALUES:
        (count,) = _NUMBER.unpack_from(data, at)
        at += _NUMBER.size
        for _ in range(count):
            end = data.index(b"\0", at + _NUMBER.size) + 1
            values.append(data[at:end])
            at = end
    return prefix, children, values


# More in an index that is there: what is there stays where it is, since nodes say where their
# children lie, and those between the root and something new are written again behind it, as
# in any persistent tree. Nothing leads to the old ones then; they are a few hundred bytes. Only
# the root, which depmod writes last, is replaced, so that the header can stay as it is.


def extend_binary_index(
    name: str, index: bytes, before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> bytes | None:
    """`index`, which stands beside the texts `before`, for the texts `after`.

    It says what that of write_binary_indexes says, in other bytes. None where that has to be
    asked: the texts have not only become longer, or `index` is none for us.
    """
    text_name = _TEXT_OF[name]
    if text_name not in _GROWING:
        return None
    dependencies, text = (
        _further(before.get(one, b""), after.get(one, b"")) for one in ("modules.dep", text_name)
    )
    if dependencies is None or text is None:
        return None
    first = before["modules.dep"].count(b"\n")
    lines = _lines(dependencies)
    module_names = [module_name(line.partition(":")[0]) for line in lines]
    packed_names = _packed_names(module_names, first)
    if name == "modules.dep.bin":
        pairs = [
            (_encoded(module), _packed_value(_encoded(line), number))
            for number, (module, line) in enumerate(zip(module_names, lines, strict=True), first)
        ]
    else:
        pairs = []
        for key, module in _aliases(text, normalize=name == "modules.alias.bin"):
            if module not in packed_names:
                return None
            pairs.append((key, packed_names[module]))
    for key, value in pairs:
        _check_ascii(key, value, text_name)
    try:
        return _Extender(index, pairs).extended()
    except (struct_error, IndexError, ValueError):
        return None


_GROWING = ("modules.dep", "modules.alias", "modules.symbols")


def _further(before: bytes, after: bytes) -> bytes | None:
    """What `after` has behind `before`; None if it is not that with more lines."""
    is_whole = not before or before.endswith(b"\n")
    if not is_whole or b"\n\n" in before or not after.startswith(before):
        return None
    return after[len(before) :]


class _Extender:
    """Writes nodes behind those of an index."""

    def __init__(self, index: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        magic, version, self._root = _HEADER.unpack_from(index)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ValueError("no index of our version")
        self._index = index
        self._new: dict[bytes, list[bytes]] = {}
        for key, value in pairs:
            self._new.setdefault(key, []).insert(0, value)
        self._keys = sorted(self._new)
        self._parts: list[bytes] = []
        self._at = len(index)

    def extended(self) -> bytes:
        """The whole file."""
        node = _read_node(self._index, self._root)
        if not self._keys:
            return self._index
        room_bytes = self._room_for_root(node)
        if not room_bytes:
            root = self._put(*self._merged(node, 0, len(self._keys), 0))
            head = _HEADER.pack(_MAGIC, _VERSION, root)
            return b"".join((head, self._index[_HEADER.size :], *self._parts))
        start = self._root & _POSITION
        self._at = start + room_bytes
        new_root, _ = _packed_node(*self._merged(node, 0, len(self._keys), 0))
        return b"".join((self._index[:start], new_root, *self._parts))

    def _room_for_root(self, node: _Node) -> int:
        """What the new root takes where the old one is, as long as it is the last node there.

        Then the header stays as it is, and with it all that lies before. 0 if it cannot be.
        """
        prefix, children, values = node
        old, flags = _packed_node(*node)
        is_last = (self._root & _POSITION) + len(old) == len(self._index)
        if values or not children or not is_last or flags != self._root & ~_POSITION:
            return 0
        if not all(len(key) > len(prefix) and key.startswith(prefix) for key in self._keys):
            return 0
        letters = children.keys() | {key[len(prefix)] for key in self._keys}
        return len(prefix) + bool(prefix) + _CHILD_TABLES[max(letters) - min(letters)].size

    def _merged(self, node: _Node | None, first: int, end: int, start: int) -> _Node:
        """`node`, if there is one, with the keys from `first` to before `end`.

        All of its keys are equal up to `start`, where its prefix begins. What is below is written.
        """
        keys = self._keys
        one, other = keys[first], keys[end - 1]
        prefix, children, values = node or (one[start:], {}, [])
        whole = one[:start] + prefix
        depth = min(_common_length(whole, key, start) for key in (one, other))
        split = None
        if node and depth < len(whole):
            split = whole[depth]
            node = whole[depth + 1 :], children, values
            children, values = {}, []
        if len(one) == depth:
            values = sorted(self._new[one] + values, key=_priority_bytes)
            first += 1
        changed = {}
        while first < end:
            letter = keys[first][depth]
            behind = bisect_left(keys, one[:depth] + bytes((letter + 1,)), first, end)
            child = node if letter == split else None
            if letter in children:
                child = _read_node(self._index, children[letter])
            changed[letter] = self._put(*self._merged(child, first, behind, depth + 1))
            first = behind
        if node and split is not None and split not in changed:
            changed[split] = self._put(*node)
        return whole[start:depth], children | changed, values

    def _put(self, prefix: bytes, children: dict[int, int], values: list[bytes]) -> int:
        node, flags = _packed_node(prefix, children, values)
        position = self._at | flags
        self._parts.append(node)
        self._at += len(node)
        return position


def _packed_node(
    prefix: bytes, children: Mapping[int, int], values: Sequence[bytes]
) -> tuple[bytes, int]:
    """Bytes of a node, and the flags of the parts it has."""
    node, flags = b"", 0
    if prefix:
        node = prefix + b"\0"
        flags |= _PREFIX
    if children:
        node += _child_table(sorted(children.items()))
        flags |= _CHILDREN
    if values:
        node += _NUMBER.pack(len(values)) + b"".join(values)
        flags |= _VALUES
    return node, flags


def write_binary_indexes(
    texts: Mapping[str, bytes], names: Iterable[str] = BINARY_INDEXES
) -> dict[str, bytes]:
    """The `.bin` files that depmod would write beside these text indexes, those in `names`.

    `texts` maps `modules.dep`, `modules.alias`, `modules.symbols`, `modules.builtin` and
    `modules.builtin.modinfo` (the last two as the kernel's build makes them) to their
    bytes; what is missing counts as empty. A module's priority is its line in modules.dep.
    """
    lines = {name: _lines(texts.get(name, b"")) for name in ("modules.dep", "modules.builtin")}
    module_names = [module_name(line.partition(":")[0]) for line in lines["modules.dep"]]
    # depmod leaves no blank behind the colon of a module without dependencies
    dependencies = zip(module_names, lines["modules.dep"], count(), strict=False)
    packed_names = {
        name: _packed_value(name, number) for number, name in enumerate(map(_encoded, module_names))
    }
    makers: dict[str, Callable[[str], bytes]] = {
        "modules.dep.bin": lambda subject: write_index(dependencies, subject=subject),
        "modules.alias.bin": lambda subject: _write(
            _alias_tables(texts.get(subject, b""), packed_names, subject, normalize=True)
        ),
        "modules.symbols.bin": lambda subject: _write(
            _alias_tables(texts.get(subject, b""), packed_names, subject, normalize=False)
        ),
        "modules.builtin.bin": lambda subject: write_index(
            ((module_name(line), "", 0) for line in lines[subject] if line[0].isalpha()),
            subject=subject,
        ),
        "modules.builtin.alias.bin": lambda subject: write_index(
            ((alias, name, 0) for name, alias in builtin_aliases(texts.get(subject, b""))),
            subject=subject,
        ),
    }
    return {name: makers[name](_TEXT_OF[name]) for name in names}


def _packed_names(module_names: Iterable[str], first: int) -> dict[bytes, bytes]:
    """What an alias leads to, by the name of a module; the first one's priority is `first`."""
    return {
        name: _packed_value(name, number)
        for number, name in enumerate(map(_encoded, module_names), first)
    }


def _alias_tables(
    text: bytes, packed_names: Mapping[bytes, bytes], subject: str, *, normalize: bool
) -> dict[bytes, bytes]:
    """Aliases of modules to tables of their packed names; others are no one's."""
    pairs = [
        (key, packed_names[name])
        for key, name in _aliases(text, normalize=normalize)
        if name in packed_names
    ]
    if not text.isascii():
        for key, value in pairs:
            _check_ascii(key, value, subject)
    return _value_tables(pairs)


def _aliases(text: bytes, *, normalize: bool) -> Iterator[tuple[bytes, bytes]]:
    for line in text.split(b"\n"):
        if not line.startswith(b"alias "):
            continue
        key, _, name = line[len(b"alias ") :].rpartition(b" ")
        if normalize:
            if b"[" in key or b"]" in key:
                normal = normalize_alias(key.decode("utf-8", "surrogateescape"))
                if normal is None:
                    continue
                key = _encoded(normal)
            else:  # nearly all: the same without a detour
                key = key.replace(b"-", b"_")
        yield key, name


def _lines(text: bytes) -> list[str]:
    return [line for line in text.decode("utf-8", "surrogateescape").split("\n") if line]
