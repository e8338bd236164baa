"""A serving root as `doit publish` sees it, and the few things that are done there.

    DIR/generations/<id>            complete and verified, never changed
    DIR/generations/.incoming-<id>  what is being delivered
    DIR/current                     -> generations/<id>
    DIR/.current.<id>               the same link, see generations/current_link.py
    DIR/armed/                      not ours: machines that boot an installer next time

One shell script does it, so that a directory here and one on another machine differ in nothing
but how the script is reached. It asks for nothing beyond POSIX, sha256sum and `mv -T`, which
Debian and Alpine have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bootsmith.errors import PublishError
from bootsmith.generations.history import is_generation_id, order_of
from bootsmith.tools.run import run_program
from bootsmith.tools.ssh import Answer, Login, run_over_ssh, shared_connection

INCOMING = ".incoming-"
"""Followed by the id, below generations/."""
_ABSENT, _DIRECTORY = "absent", "directory"
AGAIN = "doit publish again: it goes on from what is there"
_CARRY_ON = f"then {AGAIN}"
NO_ROOM = "no space left on the disk"
_LET_WRITE = f"let the user who delivers write there, {_CARRY_ON}"
# What programs say when the place refuses, and what to do.
_REFUSALS = (
    ("No space left on device", NO_ROOM, f"free some room there, {_CARRY_ON}"),
    ("Disk quota exceeded", "the disk quota is used up", f"free some room there, {_CARRY_ON}"),
    ("Read-only file system", "its file system is read-only", f"mount it writable, {_CARRY_ON}"),
    ("Permission denied", "permission denied", _LET_WRITE),
    ("Operation not permitted", "permission denied", _LET_WRITE),
)

_SCRIPT = r"""
set -u
umask 022
LC_ALL=C
export LC_ALL
place=$1 verb=$2
shift 2

# Printable characters only; busybox knows no class of them.
tell() { printf '@%s %s\n' "$1" "$(printf %s "$2" | tr -c ' -~' '?')"; }

kind() {
	if [ -L "$1" ]; then
		tell "$2" "link $(readlink "$1")"
	elif [ -d "$1" ]; then
		tell "$2" directory
	elif [ -e "$1" ]; then
		tell "$2" other
	else
		tell "$2" absent
	fi
}

writable() { [ -w "$1" ] || tell unwritable "$1"; }

# Where something is to be written, and for how much there is room.
room() {
	writable "$1"
	free=$(df -Pk "$1" 2>/dev/null | sed -n '$s/.* \([0-9][0-9]*\)  *[0-9][0-9]*% .*/\1/p')
	[ -z "$free" ] || tell free "$free"
}

survey() {
	for program in sha256sum $2; do
		command -v "$program" >/dev/null || tell missing "$program"
	done
	if [ ! -d "$place" ]; then
		kind "$place" place
		if [ -d "${place%/*}/" ]; then room "${place%/*}/"; else tell above absent; fi
		return 0
	fi
	room "$place"
	[ ! -d "$place/generations" ] || writable "$place/generations"
	cd "$place" || return
	tell place directory
	kind generations generations
	kind current current
	kind armed armed
	kind "generations/$1" generation
	kind "generations/.incoming-$1" incoming
	for path in generations/*; do
		if [ -d "$path" ] && [ ! -L "$path" ]; then tell id "${path#generations/}"; fi
	done
	manifest=generations/$1/MANIFEST.json
	if [ -f "$manifest" ]; then tell manifest "$(sha256sum <"$manifest" | cut -d' ' -f1)"; fi
	if [ -f current/MANIFEST.json ]; then
		tell site "$(sed -n 's/^ "site": "\([^"]*\)".*/\1/p' current/MANIFEST.json)"
	fi
}

prepare() {
	[ -d "$place" ] || mkdir "$place" || return
	cd "$place" || return
	[ -d generations ] || mkdir generations || return
	if [ ! -d armed ]; then
		mkdir armed || return
		# The hook that disarms runs as the web server, where there is one.
		if [ "$(id -u)" -eq 0 ] && grep -q '^www-data:' /etc/group; then
			chgrp www-data armed && chmod 2775 armed || return
		fi
	fi
	rm -f .current.new.*
	link=.current.new.$$
	ln -s nowhere "$link" && mv -fT "$link" "$link.moved" && rm "$link.moved" || return
	incoming=generations/.incoming-$1
	# What was not finished of another generation is a good start for this one.
	for old in generations/.incoming-*; do
		if [ -L "$old" ] || [ ! -d "$old" ]; then
			rm -f "$old"
		elif [ "$old" != "$incoming" ] && { [ -e "$incoming" ] || [ -e "generations/$1" ]; }; then
			rm -rf "$old"
		elif [ "$old" != "$incoming" ]; then
			mv "$old" "$incoming" || return
		fi
	done
	[ -e "generations/$1" ] || [ -d "$incoming" ] || mkdir "$incoming"
}

# On the disk before anything leads to it.
flush() { sync -f . 2>/dev/null || sync; }

digests() {
	cd "$place/$1" || return
	sha256sum -c 2>/dev/null || [ $? -eq 1 ]
}

install() {
	cd "$place/generations" || return
	flush
	if [ -e "$1" ]; then echo "$1 is there already" >&2; return 1; fi
	mv ".incoming-$1" "$1" || return
	flush
}

flip() {
	cd "$place" || return
	own=.current.$1 new=.current.new.$$
	if [ "$(readlink "$own")" != "generations/$1" ]; then
		rm -rf "$own"
		ln -s "generations/$1" "$own" || return
	fi
	# Another name of the same link where that can be: readers over NFS hold on to it.
	ln "$own" "$new" 2>/dev/null || ln -s "generations/$1" "$new" || return
	mv -fT "$new" current || return
	flush
	kind current current
}

prune() {
	cd "$place" || return
	for id; do
		rm -rf "generations/.outgoing-$id"
		mv "generations/$id" "generations/.outgoing-$id" || return
		rm -f ".current.$id"
	done
	rm -rf generations/.outgoing-*
}

"$verb" "$@"
"""


@dataclass(frozen=True, kw_only=True)
class State:
    """What a place holds. Kinds are `absent`, `directory`, `other`, or `link TEXT`."""

    kinds: dict[str, str] = field(default_factory=dict)
    """Of `place`, `above` (its parent, if absent), `generations`, `current`, `armed`, and of the
    `generation` and `incoming` that were asked for."""
    ids: tuple[str, ...] = ()
    """Generations there, oldest first."""
    missing_programs: tuple[str, ...] = ()
    manifest_sha256: str | None = None
    """Of the generation that was asked for."""
    site: str | None = None
    """Whose generation `current` is; None where nothing says so."""
    free_bytes: int | None = None
    """For this user, where its files are; None if nobody could say."""
    unwritable: str | None = None
    """A directory there that this user cannot write in."""

    @property
    def current(self) -> str | None:
        """The id that `current` names, there or not."""
        text = self.kinds.get("current", _ABSENT).removeprefix("link ")
        name = text.removeprefix("generations/")
        return name if text != name and is_generation_id(name) else None

    @property
    def has_generation(self) -> bool:
        """Whether the generation that was asked for is there."""
        return self.kinds.get("generation") == _DIRECTORY

    @property
    def has_begun(self) -> bool:
        """Whether some of it is there, of a run that did not end well."""
        return self.kinds.get("incoming") == _DIRECTORY


@dataclass(frozen=True, kw_only=True)
class Place:
    """One target of `[publish]`."""

    name: str
    directory: str
    """Absolute."""
    keep: int
    login: Login | None = None
    """None on this machine."""

    @property
    def where(self) -> str:
        """A directory, or `user@host:/directory`."""
        return f"{self.login.destination}:{self.directory}" if self.login else self.directory

    @property
    def shown(self) -> str:
        """How it is called in messages: `rack-2 (deploy@rack-2:/srv/boot)`."""
        return f"{self.name} ({self.where})"

    @contextmanager
    def connected(self, scratch: Path) -> Iterator[Place]:
        """The place, reached for as long as the block lasts; `scratch` is a directory."""
        if self.login is None:
            yield self
            return
        with shared_connection(self.login, scratch) as login:
            yield replace(self, login=login)

    def survey(self, identifier: str) -> State:
        """What is there; nothing is changed. An error of ssh, or PublishError."""
        return _state(self._do("survey", identifier, "rsync" if self.login else ""))

    def prepare(self, identifier: str) -> None:
        """Make what is missing, and `.incoming-<id>` if that generation is not there yet."""
        self._do("prepare", identifier)

    def unequal(self, path: str, digests: Mapping[str, str]) -> list[str]:
        """Those of the files below the directory `path` that have not their digest."""
        lines = [f"{sha256}  {name}\n" for name, sha256 in digests.items()]
        said = self._do("digests", path, stdin="".join(lines).encode("utf-8", "surrogateescape"))
        # Whoever is not called sound is not: a checker that was stopped calls nobody.
        sound = {line.removesuffix(": OK") for line in said.splitlines() if line.endswith(": OK")}
        return [name for name in digests if name not in sound]

    def install(self, identifier: str) -> None:
        """Give what came in its name, once it is on the disk."""
        self._do("install", identifier)

    def flip(self, identifier: str) -> None:
        """Let `current` lead to this generation, by one rename."""
        said = _state(self._do("flip", identifier))
        if said.current != identifier:
            raise self.error(
                "its link `current` is not what it was made to be",
                expected=f"generations/{identifier}",
                got=said.kinds.get("current"),
                hint="see whether somebody else publishes there; then doit publish again",
            )

    def prune(self, identifiers: Sequence[str]) -> None:
        """Remove these generations, and what a prune that was killed has left."""
        self._do("prune", *identifiers)

    def error(self, problem: str, *, hint: str, **facts: object) -> PublishError:
        """An error about this place."""
        return PublishError(self.shown, problem, hint=hint, **facts)

    def _do(self, verb: str, *words: str, stdin: bytes = b"") -> str:
        answer = self._answer(["sh", "-c", _SCRIPT, "sh", self.directory, verb, *words], stdin)
        if answer.status != 0:
            raise self._refusal(answer.complaints)
        return answer.text

    def _answer(self, words: Sequence[str], stdin: bytes) -> Answer:
        if self.login is not None:
            return run_over_ssh(self.login, words, stdin=stdin)
        argv: list[str] = ["sh", *words[1:]]
        done = run_program(argv, stdin=stdin, accepted_statuses=range(256))
        complaints = done.stderr.decode("utf-8", "replace")
        return Answer(status=done.status, text=done.text, complaints=complaints)

    def _refusal(self, complaints: str) -> PublishError:
        lines = [line for line in complaints.splitlines() if line.strip()]
        said = lines[-1] if lines else "nothing was said"
        for words, problem, hint in _REFUSALS:
            if words in complaints:
                return self.error(problem, got=said, hint=hint)
        return self.error("refuses", got=said, hint=f"see to it there, {_CARRY_ON}")


def _state(said: str) -> State:
    """The lines of the script; what a login shell adds is passed over."""
    facts = [line[1:].split(" ", 1) for line in said.splitlines() if line.startswith("@")]
    several = {"id", "missing", "manifest", "site", "free", "unwritable"}
    kinds = {words[0]: words[1] for words in facts if words[0] not in several}
    ids = [words[1] for words in facts if words[0] == "id" and is_generation_id(words[1])]
    digests = [words[1] for words in facts if words[0] == "manifest"]
    sites = [words[1] for words in facts if words[0] == "site"]
    free = [int(words[1]) for words in facts if words[0] == "free"]
    unwritable = [words[1] for words in facts if words[0] == "unwritable"]
    return State(
        kinds=kinds,
        ids=tuple(sorted(ids, key=order_of)),
        missing_programs=tuple(words[1] for words in facts if words[0] == "missing"),
        manifest_sha256=digests[0] if digests else None,
        site=(sites[0] or None) if sites else None,
        free_bytes=free[0] * 1024 if free else None,
        unwritable=unwritable[0] if unwritable else None,
    )


def check_site(place: Place, state: State, site: str) -> None:
    """PublishError for a place that serves the machines of another site."""
    if state.site not in (None, site):
        raise place.error(
            "serves another site",
            expected=site,
            got=f"{state.site} ({state.current})",
            hint="two sites need two places; if this one is to take its place: "
            f"doit publish --take-over {place.name}",
        )


def check_state(place: Place, state: State, identifier: str, manifest_sha256: str) -> None:
    """PublishError for a place that is not, or cannot become, a serving root of ours."""
    if state.missing_programs:
        missing = " and ".join(state.missing_programs)
        raise place.error(
            f"has no {missing}",
            hint=f"install it there: apt-get install {' '.join(state.missing_programs)}",
        )
    if state.kinds.get("above") == _ABSENT:
        raise place.error(
            "is not there, nor is the directory that it would be in",
            hint="make it, or mount what it should be on",
        )
    for name, problem in _shapes(state, identifier):
        raise place.error(
            problem, hint=f"look at {place.directory}{name} there, and move it out of the way"
        )
    if state.has_generation and state.manifest_sha256 != manifest_sha256:
        raise place.error(
            f"has another generation that is called {identifier} too",
            expected=f"MANIFEST.json of sha256 {manifest_sha256}",
            got=state.manifest_sha256 or "none",
            hint="two sites need two places; if it is of no use, remove it there: "
            f"rm -rf {place.directory}/generations/{identifier}",
        )


def _shapes(state: State, identifier: str) -> Iterable[tuple[str, str]]:
    """Paths that are not what they should be, with what they are."""
    paths = {
        "place": "",
        "generations": "/generations",
        "armed": "/armed",
        "generation": f"/generations/{identifier}",
    }
    for name, path in paths.items():
        kind = state.kinds.get(name, _ABSENT)
        if kind not in (_ABSENT, _DIRECTORY):
            what = "a symbolic link" if kind.startswith("link ") else "no directory"
            yield path, f"{path[1:] or 'it'} is {what}"
    kind = state.kinds.get("current", _ABSENT)
    if kind != _ABSENT and state.current is None:
        what = f"leads to {kind[5:]}" if kind.startswith("link ") else "is no symbolic link"
        yield "/current", f"current {what}"
