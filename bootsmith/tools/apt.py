"""apt without root: this machine's sources and keyrings, a state directory of our own.

Nothing is installed and nothing of the machine's package state is read or changed. apt
checks signatures of its lists and digests of what it downloads, as it always does. See
apt.conf(5) for each option, apt-get(8) for `download`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bootsmith.errors import SourceError
from bootsmith.files.atomic import write_file
from bootsmith.files.deb import parse_stanza
from bootsmith.files.storage_errors import said_storage_error
from bootsmith.tools.run import run_program, running_program

SYSTEM_LISTS = Path("/var/lib/apt/lists")

# Only these leave our fresh environment: without them a machine behind a proxy that is
# named in the environment could not reach its mirror. They do not reach any byte.
_PROXY_NAMES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")

# Debian's own archives first, whatever else the machine's sources offer; not backports,
# whose label is another.
_PREFERENCES = b"""\
Package: *
Pin: release o=Debian,l=Debian
Pin-Priority: 990

Package: *
Pin: release o=Debian,l=Debian-Security
Pin-Priority: 990
"""
_POLL_SECONDS = 0.2
_NEEDED_BY = "the stand-in builder"
_NETWORK_HINT = "see that this machine reaches its Debian mirror: apt-get update"

# Text of a deb822 stanza that apt-cache prints, as a mapping.
Stanza = Mapping[str, str]


def prepare_state(state: Path) -> None:
    """Make the private state directory; lists that the machine already has are taken over.

    apt then asks its mirrors only whether they have changed.
    """
    for name in ("lists/partial", "cache/archives/partial", "state", "log"):
        (state / name).mkdir(parents=True, exist_ok=True)
    # What is installed on this machine must not influence which version is the candidate.
    write_file(state / "status", b"", durable=False)
    write_file(state / "preferences", _PREFERENCES, durable=False)
    for source in _readable_lists(SYSTEM_LISTS):
        copy = state / "lists" / source.name
        if not copy.exists():
            shutil.copy2(source, copy)  # with its time: apt compares it with the mirror's


def update_lists(state: Path) -> None:
    """Bring the package lists up to date, as far as the mirrors can be reached.

    A source that cannot be had is apt's warning, not our error: whether the lists that
    stand are good enough shows when a package is asked for. Raises PublishError for a full disk.
    """
    completed = run_program(
        ["apt-get", *_options(state), "--quiet", "update"],
        environment=_proxies(),
        accepted_statuses=(0, 100),
        needed_by=_NEEDED_BY,
    )
    _refuse_full_disk(completed.text + completed.stderr.decode("utf-8", "replace"), state)


def show_packages(state: Path, names: Sequence[str], *, every_version: bool) -> list[Stanza]:
    """The stanzas of packages called `names`: candidates only, or every version there is.

    Names that apt does not know are left out.
    """
    completed = run_program(
        [
            "apt-cache",
            *_options(state),
            "show",
            "--all-versions" if every_version else "--no-all-versions",
            *names,
        ],
        accepted_statuses=(0, 100),  # 100: some name is unknown
        needed_by=_NEEDED_BY,
    )
    stanzas = (parse_stanza(text) for text in completed.text.split("\n\n") if text.strip())
    # A name that only others provide is shown as its providers.
    return [stanza for stanza in stanzas if stanza.get("Package") in set(names)]


def download_packages(
    state: Path,
    wanted: Sequence[str],
    directory: Path,
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Download packages, each given as `name=version`, into `directory`, all or error.

    `progress` is called now and then with the bytes that are there. Raises SourceError, or
    PublishError for a full disk.
    """
    log = state / "log" / "download.log"
    log.unlink(missing_ok=True)
    with running_program(
        ["apt-get", *_options(state), "--quiet", "download", *wanted],
        cwd=directory,
        log=log,
        environment=_proxies(),
        needed_by=_NEEDED_BY,
    ) as process:
        while process.poll() is None:
            if progress:
                progress(_directory_bytes(directory))
            time.sleep(_POLL_SECONDS)
    if process.returncode != 0:
        said = log.read_text("utf-8", "replace")
        _refuse_full_disk(said, directory)
        complaints = [line for line in said.splitlines() if line[:2] == "E:"]
        raise SourceError(
            "apt-get download",
            "could not download all packages:\n    " + "\n    ".join(complaints[:5]),
            hint=_NETWORK_HINT,
        )


def _refuse_full_disk(said: str, directory: Path) -> None:
    error = said_storage_error(said, directory)
    if error is not None:
        raise error


def _options(state: Path) -> list[str]:
    settings = {
        "Dir::State": state / "state",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Log": state / "log",
        "Dir::Etc::preferences": state / "preferences",
        "Dir::Etc::preferencesparts": "/dev/null",
        # The stand-in is x86_64 whatever this machine is.
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Cmd::Disable-Script-Warning": "true",
    }
    if os.geteuid() == 0:
        # apt's unprivileged user could not write below a directory that only root enters.
        settings["APT::Sandbox::User"] = "root"
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _proxies() -> dict[str, str]:
    names = [*_PROXY_NAMES, *map(str.upper, _PROXY_NAMES)]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _readable_lists(directory: Path) -> list[Path]:
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return []
    return [
        entry
        for entry in entries
        if entry.name != "lock" and entry.is_file() and os.access(entry, os.R_OK)
    ]


def _directory_bytes(directory: Path) -> int:
    total = 0
    for entry in os.scandir(directory):
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            pass  # apt renamed it between the listing and the question
    return total
