"""What differs between two files, told from the outside in: bytes, member, bytes of the member."""

from __future__ import annotations

from pathlib import Path

from bootsmith.errors import ToolFailed, ToolMissing
from bootsmith.reproduce.differences import compare_bytes
from bootsmith.reproduce.members import compare_members, read_members
from bootsmith.tools.run import run_program

_DEEPEST = 4
_DIFFOSCOPE_SECONDS = 900.0
_DIFFOSCOPE_LINES = 60


def explain(first: Path, second: Path, scratch: Path) -> list[str]:
    """Lines about the difference of two files; `scratch` takes members that are looked into."""
    return _explain(first, second, scratch, 0)


def _explain(first: Path, second: Path, scratch: Path, depth: int) -> list[str]:
    difference = compare_bytes(first.read_bytes(), second.read_bytes())
    if difference is None:
        return []
    lines = list(difference.lines)
    ours = read_members(first) if depth < _DEEPEST else None
    theirs = read_members(second) if ours is not None else None
    if ours is None or theirs is None:
        return lines
    found = compare_members(ours, theirs)
    if found.name is None:
        about = found.problem or "order, compression or padding of the container itself"
        return [*lines, f"all {found.total} members are the same: {about}"]
    lines.append(f"{found.count} of {found.total} members differ; {found.name}: {found.problem}")
    if found.contents:
        paths = []
        for side, content in zip(("first", "second"), found.contents, strict=True):
            paths.append(scratch / f"member-{depth}-{side}")
            paths[-1].write_bytes(content)
        lines += [f"  {line}" for line in _explain(paths[0], paths[1], scratch, depth + 1)]
    return lines


def diffoscope(first: Path, second: Path, report: Path) -> list[str]:
    """The beginning of what diffoscope says, if it is on this machine; all of it in `report`."""
    try:
        run_program(
            ["diffoscope", "--text", report, first, second],
            accepted_statuses=(0, 1),  # 1: they differ
            timeout_seconds=_DIFFOSCOPE_SECONDS,
        )
    except ToolMissing:
        return []
    except ToolFailed as error:
        return [f"diffoscope: {error.problem.splitlines()[0]}"]
    lines = report.read_text("utf-8", "replace").splitlines()
    more = [f"… all of it in {report}"] if len(lines) > _DIFFOSCOPE_LINES else []
    return ["diffoscope:", *lines[:_DIFFOSCOPE_LINES], *more]
