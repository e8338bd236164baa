"""Delivering to another machine: rsync over ssh, and sha256sum there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bootsmith.publish.contents import Contents
from bootsmith.publish.place import Place
from bootsmith.publish.transfer import Progress
from bootsmith.tools.rsync import Sent, differences, send_tree
from bootsmith.tools.ssh import Login

# A connection for each so much: between them one can tell how far it is.
_CHECKED_AT_ONCE_BYTES = 256_000_000
# rsync takes twenty; what neither of these has is new.
_EARLIER = 3


@dataclass(frozen=True, kw_only=True)
class RemoteTransfer:
    """See Transfer."""

    contents: Contents
    place: Place
    login: Login
    progress: Progress

    def would_send(self, path: str, earlier: Sequence[str]) -> int:
        """See Transfer."""
        if not earlier:
            return self.contents.content_bytes
        # Compared with the newest as if that were to be changed: what it lacks would be sent.
        return self._send(earlier[0], earlier[1:], only_count=True).content_bytes

    def send(self, path: str, earlier: Sequence[str]) -> int:
        """See Transfer."""
        return self._send(path, earlier).wire_bytes

    def mend(self, path: str, wrong: Collection[str]) -> int:
        """See Transfer."""
        return self._send(path, (), by_content=True).wire_bytes

    def find_wrong(self, path: str) -> list[str]:
        """See Transfer."""
        self.progress(f"{self.place.name}: comparing names", 0, None)
        wrong = differences(self.contents.directory, self._target(path), login=self.login)
        done, total = 0, self.contents.content_bytes
        for names in self._portions():
            self.progress(f"{self.place.name}: reading there", done, total)
            # Names of one file are so there too, or rsync has just said otherwise.
            digests = {name: self.contents.files[name].sha256 for name in names}
            wrong += self.place.unequal(path, digests)
            done += sum(self.contents.files[name].size_bytes for name in names)
        return wrong

    def _portions(self) -> Iterator[list[str]]:
        names: list[str] = []
        size_bytes = 0
        for name in self.contents.distinct:
            names.append(name)
            size_bytes += self.contents.files[name].size_bytes
            if size_bytes >= _CHECKED_AT_ONCE_BYTES:
                yield names
                names, size_bytes = [], 0
        if names:
            yield names

    def _send(
        self,
        path: str,
        earlier: Sequence[str],
        *,
        by_content: bool = False,
        only_count: bool = False,
    ) -> Sent:
        total = self.contents.content_bytes
        words = f"{self.place.name}: sending"
        self.progress(words, 0, total)
        return send_tree(
            self.contents.directory,
            self._target(path),
            login=self.login,
            linked_from=[f"{self.place.directory}/{other}" for other in earlier[:_EARLIER]],
            by_content=by_content,
            only_count=only_count,
            progress=lambda percent: self.progress(words, total * percent // 100, total),
        )

    def _target(self, path: str) -> str:
        return f"{self.place.directory}/{path}"
