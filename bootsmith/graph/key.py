"""The key of a step, and the walk behind it.

One walk lists everything that can change the bytes, as (subject, description) pairs;
the key is the digest of that list, and `explain` compares two lists. So the reason
shown for a rebuild cannot differ from the reason that caused it.

Paths below the site's root are written relative to it: the same site in another
directory has the same keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bootsmith.files.digest import DigestMemory, describe_file, describe_tree
from bootsmith.graph.step import Input, Output, Role, Scratch, Step, Tree

KEY_FORMAT = "2"
Walk = tuple[tuple[str, str], ...]


def walk_step(
    step: Step,
    *,
    root: Path,
    memory: DigestMemory,
    code_digest: Callable[[str], str],
    tool_version: Callable[[str], str],
    python_version: str,
) -> Walk:
    """Everything that decides the step's outputs, in a fixed order.

    `code_digest` gets the builder's module name; `tool_version` a program's name.
    """
    return tuple(_walk(step, root, memory, code_digest, tool_version, python_version))


def _walk(
    step: Step,
    root: Path,
    memory: DigestMemory,
    code_digest: Callable[[str], str],
    tool_version: Callable[[str], str],
    python_version: str,
) -> Iterator[tuple[str, str]]:
    yield "key format", KEY_FORMAT
    yield "version of python", python_version
    yield f"code of {step.builder}", code_digest(step.builder.partition(":")[0])
    for tool in sorted((*step.tools, *step.machine_files)):
        yield f"version of {tool}", tool_version(tool)
    for name in sorted(step.arguments):
        yield f"argument {name}", _canonical(step.arguments[name], root)
    # By the name that is shown: where the root lies beside a path outside it must not decide.
    for path in sorted(set(step.inputs), key=lambda path: shown(path, root)):
        yield f"input {shown(path, root)}", describe_file(path, memory)
    for tree in sorted(set(step.trees), key=lambda path: shown(path, root)):
        for entry, description in describe_tree(tree, memory):
            where = shown(tree, root) if entry == "." else f"{shown(tree, root)}/{entry}"
            yield f"input {where}", description


def key_of(walk: Walk) -> str:
    """The digest of a walk: 64 hex digits."""
    return hashlib.sha256(json.dumps(walk, ensure_ascii=True).encode()).hexdigest()


def shown(path: Path, root: Path) -> str:
    """`path` relative to the site's root if it lies below it, else as it is."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return str(path)


def _canonical(value: Any, root: Path) -> str:
    return json.dumps(_plain(value, root), sort_keys=True, ensure_ascii=True)


def _plain(value: Any, root: Path) -> Any:
    if isinstance(value, Scratch):
        return None  # where a cache lies never decides
    if isinstance(value, Role):
        word = {Input: "input", Tree: "tree", Output: "output"}[type(value)]
        return {word: shown(value.path, root)}
    if isinstance(value, Mapping):
        return {str(name): _plain(part, root) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(part, root) for part in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"a step's argument cannot be a {type(value).__name__}: {value!r}")


def differences(old: Walk, new: Walk) -> list[str]:
    """Why `new` is another key than `old`: one line a subject, added, gone or changed."""
    before, after = dict(old), dict(new)
    lines = []
    for subject in sorted(before.keys() | after.keys()):
        was, now = before.get(subject), after.get(subject)
        if was == now:
            continue
        if was is None:
            lines.append(f"{subject}: new ({now})")
        elif now is None:
            lines.append(f"{subject}: gone (was {was})")
        else:
            lines.append(f"{subject}: was {was}, is {now}")
    return lines
