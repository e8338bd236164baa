"""The segments of an initramfs, compressed; what was compressed before is only copied."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bootsmith.files.cache import Cache
from bootsmith.formats.compression import codec_version, compress_segment
from bootsmith.formats.initramfs import Member, segment_key, write_segment

_LAYOUT_VERSION = "1"  # part of the keys of what is remembered; changes with its shape

Progress = Callable[[str, int, int | None], None]


def compressed_segments(
    groups: Sequence[Sequence[Member]],
    *,
    codec: str,
    level: int,
    store: Cache,
    fetch: Callable[[Iterable[Member]], None],
    progress: Progress,
) -> list[bytes]:
    """One compressed archive for each of `groups`, in their order.

    `fetch` is told all members whose content will be wanted, before any of them is.
    """
    coding = f"{_LAYOUT_VERSION} {codec_version(codec)} {level}"
    keys = [segment_key(group, coding=coding) for group in groups]
    segments = [store.recall("segment", key) for key in keys]
    missing = [at for at, segment in enumerate(segments) if segment is None]
    # The largest first, or it may be begun last and be waited for alone.
    missing.sort(key=lambda at: -sum(member.size_bytes for member in groups[at]))
    fetch(member for at in missing for member in groups[at])

    def compress(at: int) -> bytes:
        segment = compress_segment(write_segment(groups[at]), codec, level)
        store.keep("segment", keys[at], segment)
        return segment

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, (at, segment) in enumerate(
            zip(missing, pool.map(compress, missing), strict=True), 1
        ):
            segments[at] = segment
            progress(f"compressing with {codec}", done, len(missing))
    return [segment for segment in segments if segment is not None]
