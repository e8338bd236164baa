"""What is different between two apkovls."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bootsmith.files.archive import ArchiveMember, read_archive
from bootsmith.generations.sections import Changes, compare


def overlay_changes(old: Path, new: Path) -> Changes:
    """Every entry with its mode, owner and content. FormatError for what is no archive."""
    before, after = (
        {member.name: _member(member) for member in read_archive(path)} for path in (old, new)
    )
    return compare(before, after)


def _member(member: ArchiveMember) -> str:
    is_file = member.kind == "file"
    content = hashlib.sha256(member.data).hexdigest() if is_file else member.target
    return f"{member.kind} {member.mode:04o} {member.uid}:{member.gid} {content}".rstrip()
