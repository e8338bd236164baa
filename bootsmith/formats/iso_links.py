"""Symbolic links of a tree that is known only as a list: where they lead, and that they stay.

Links are followed one component at a time, as a kernel would with the tree as its root
directory, so that `a/../../x` through another link is judged by where it really leads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bootsmith.errors import FormatError
from bootsmith.formats.release_facts import LINK, IsoFile

_MOST_HOPS = 40  # as the kernel's MAXSYMLINKS


def resolve_path(tree: Mapping[str, IsoFile], path: str, *, subject: object) -> str:
    """The path that `path` leads to when every link in it is followed.

    It need not exist. Raises FormatError for links that loop or leave the tree.
    """
    done: list[str] = []
    ahead = path.split("/")[::-1]
    hops = 0
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not done:
                raise _refused("a link leads out of the tree", path, subject)
            done.pop()
            continue
        entry = tree.get("/".join([*done, part]))
        if entry is None or entry.type != LINK:
            done.append(part)
            continue
        hops += 1
        target = entry.target or ""
        if hops > _MOST_HOPS:
            raise _refused("links lead in a circle", path, subject)
        if target.startswith("/") or not target:
            raise _refused("a link has an absolute or empty target", entry.path, subject)
        ahead += target.split("/")[::-1]
    return "/".join(done)


def check_links(files: Iterable[IsoFile], *, subject: object) -> None:
    """FormatError if a link among `files` loops or leads out; dangling ones are allowed."""
    tree = {entry.path: entry for entry in files}
    for entry in tree.values():
        if entry.type == LINK:
            resolve_path(tree, entry.path, subject=subject)


def _refused(problem: str, path: str, subject: object) -> FormatError:
    return FormatError(
        subject,
        f"hostile or damaged ISO: {problem}",
        got=ascii(path[:80]),
        hint="use an ISO from a source you trust",
    )
