"""What the last runs left behind: one record a finished step, and remembered digests.

An sqlite file in WAL mode. A step's record is one transaction, made when the step
finishes, so a run that is killed has forgotten nothing that was done. Losing the file
costs a rebuild, never a wrong result.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.files.digest import Identity

_SCHEMA = """
create table if not exists step (
    name text primary key, key text not null, walk text not null, outputs text not null);
create table if not exists digest (
    path text primary key, device int, inode int, size_bytes int,
    mtime_ns int, ctime_ns int, sha256 text not null) without rowid;
create table if not exists note (subject text primary key, identity text, value text not null);
"""
_LAYOUT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """How a step last finished: its key, the walk behind the key, its outputs' digests."""

    key: str
    walk: tuple[tuple[str, str], ...]
    outputs: dict[str, str]


class State:
    """The state file, opened; also the DigestMemory of files.digest."""

    def __init__(self, path: Path, *, only_looks: bool = False) -> None:
        """`only_looks` changes nothing on the disk; what is recorded or remembered is lost."""
        self.path = path
        self._is_read_only = only_looks
        if not only_looks:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._open_to_look() if only_looks else self._open()
        except sqlite3.OperationalError as error:  # the disk's trouble, not the file's
            self._connection = self._open_to_read(error)
        except sqlite3.DatabaseError as error:
            raise PublishError(
                path,
                f"the state file cannot be read ({error})",
                hint=f"remove it (rm {path}); the next build then does every step once",
            ) from error
        self._digests: dict[str, tuple] | None = None
        self._fresh: dict[str, tuple] = {}

    def _open(self) -> sqlite3.Connection:
        # Autocommit; transactions are begun by name where several writes belong together.
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        connection.execute("pragma journal_mode=wal")
        # WAL with NORMAL cannot corrupt; a power cut may lose the last record, which
        # only means that its step is done again.
        connection.execute("pragma synchronous=normal")
        version = connection.execute("pragma user_version").fetchone()[0]
        if version != _LAYOUT_VERSION:
            connection.executescript(
                "drop table if exists step; drop table if exists digest; drop table if exists note;"
                + _SCHEMA
                + f"pragma user_version={_LAYOUT_VERSION};"
            )
        return connection

    def _open_to_look(self) -> sqlite3.Connection:
        # While a run is going on, or was killed, there is news in the WAL file; otherwise
        # the file alone holds everything, and nothing beside it need be made to share it.
        news = self.path.with_name(f"{self.path.name}-wal")
        mode = "mode=ro" if news.exists() and news.stat().st_size else "immutable=1"
        if self.path.exists():
            where = f"{self.path.absolute().as_uri()}?{mode}"
            connection = sqlite3.connect(where, uri=True, isolation_level=None)
            if connection.execute("pragma user_version").fetchone()[0] == _LAYOUT_VERSION:
                return connection
            connection.close()
        empty = sqlite3.connect(":memory:", isolation_level=None)
        empty.executescript(_SCHEMA)
        return empty

    def _open_to_read(self, trouble: sqlite3.OperationalError) -> sqlite3.Connection:
        """For a full or read-only disk, where WAL mode cannot make its index.

        What is recorded is all that a run needs that has nothing to do. What a killed run
        left in the WAL file is not seen: its steps then look as if they were not done.
        """
        self._is_read_only = True
        if not self.path.exists():
            raise trouble
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?immutable=1", uri=True, isolation_level=None
        )
        if connection.execute("pragma user_version").fetchone()[0] != _LAYOUT_VERSION:
            raise trouble
        return connection

    def close(self) -> None:
        """Write what is still unsaved and close the file."""
        self.save_digests()
        self._connection.close()

    # -- digests ---------------------------------------------------------------------

    def recall(self, path: str, identity: Identity) -> str | None:
        """See DigestMemory."""
        if self._digests is None:
            rows = self._connection.execute("select * from digest")
            self._digests = {row[0]: row[1:] for row in rows}
        row = self._digests.get(path)
        if row is not None and row[:5] == _columns(identity):
            return row[5]
        return None

    def remember(self, path: str, identity: Identity, sha256: str) -> None:
        """See DigestMemory; written with the next record or on close."""
        row = (*_columns(identity), sha256)
        if self._digests is not None:
            self._digests[path] = row
        self._fresh[path] = row

    def save_digests(self) -> None:
        """Write remembered digests in one transaction."""
        if not self._fresh or self._is_read_only:
            return
        rows = [(path, *row) for path, row in self._fresh.items()]
        try:
            self._connection.execute("begin immediate")
            self._connection.executemany(
                "insert or replace into digest values (?,?,?,?,?,?,?)", rows
            )
            self._connection.execute("commit")
        except sqlite3.OperationalError:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise
        self._fresh.clear()

    def save_digests_if_possible(self) -> None:
        """As `save_digests`; where the disk refuses, the next run reads those files again."""
        with suppress(sqlite3.OperationalError):
            self.save_digests()

    # -- steps -----------------------------------------------------------------------

    def step(self, name: str) -> StepRecord | None:
        """The record of the step called `name`, or None if it never finished."""
        row = self._connection.execute(
            "select key, walk, outputs from step where name=?", (name,)
        ).fetchone()
        if row is None:
            return None
        walk = tuple((subject, value) for subject, value in json.loads(row[1]))
        return StepRecord(key=row[0], walk=walk, outputs=json.loads(row[2]))

    def record(self, name: str, record: StepRecord) -> None:
        """Keep `record` as the last finish of `name`, durably before returning."""
        self.save_digests()
        self._connection.execute(
            "insert or replace into step values (?,?,?,?)",
            (name, record.key, json.dumps(record.walk), json.dumps(record.outputs)),
        )

    def forget(self, name: str) -> None:
        """Drop the record of `name`: the step will be done again."""
        self._connection.execute("delete from step where name=?", (name,))

    # -- notes: small derived facts that are dear to compute ------------------------------

    def note(self, subject: str, identity: str) -> str | None:
        """What was noted about `subject` while it had this identity, or None."""
        row = self._connection.execute(
            "select value from note where subject=? and identity=?", (subject, identity)
        ).fetchone()
        return row[0] if row else None

    def write_note(self, subject: str, identity: str, value: str) -> None:
        """Note `value` about `subject` as long as it has this identity."""
        if self._is_read_only:
            return
        self._connection.execute(
            "insert or replace into note values (?,?,?)", (subject, identity, value)
        )


def _columns(identity: Identity) -> tuple[int, int, int, int, int]:
    return (
        identity.device,
        identity.inode,
        identity.size_bytes,
        identity.mtime_ns,
        identity.ctime_ns,
    )
