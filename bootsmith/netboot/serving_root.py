"""The directory that a head node serves, as machines see it: `current`, and what is beside it."""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootsmith.errors import PublishError
from bootsmith.formats.arming import HOOK_INVENTORY, install_configurations
from bootsmith.formats.inventory import Host, Inventory, read_inventory
from bootsmith.formats.netboot_network import ARMED, CURRENT
from bootsmith.netboot import armed_links
from bootsmith.netboot.armed_links import HOOK_GROUP
from bootsmith.tools.ssh import Login, run_over_ssh

_MAC = re.compile(r"[0-9a-f]{2}(?P<between>[:-])(?:[0-9a-f]{2}(?P=between)){4}[0-9a-f]{2}")
_INSTALLS, _INSTALL = os.path.split(install_configurations("")[0])
_CURRENT_LINK, _GENERATIONS = "current", "generations"
_NO_SUCH_PROGRAM = 127  # as shells have it


@dataclass(frozen=True, kw_only=True)
class ServingRoot:
    """`directory` holds `generations/`, `current` and `armed/`."""

    directory: str
    login: Login | None = None
    """None on this machine."""
    is_built_here: bool = False
    """Whether `doit build` itself makes what is in it."""

    @property
    def where(self) -> str:
        """How messages call it: a directory, or `user@host:/directory`."""
        return f"{self.login.destination}:{self.directory}" if self.login else self.directory

    @functools.cached_property
    def inventory(self) -> Inventory:
        """The hosts of the current generation; PublishError where none is published."""
        text = self._found["inventory"]
        if not self._found["leads"]:
            raise self.without_current(self._found["current"])
        if text is None:
            raise PublishError(
                self.where,
                "no generation with hosts is published here",
                expected=f"{CURRENT}/{HOOK_INVENTORY}",
                hint="deliver one first: doit publish",
            )
        return read_inventory(text.encode(), subject=f"{self.where}/{CURRENT}/{HOOK_INVENTORY}")

    def without_current(self, link: str | None) -> PublishError:
        """Nothing to say which machines there are; `link` is what `current` says, if it is one."""
        build = "make it current: doit build, or doit rollback --to ID for one of doit generations"
        return PublishError(
            self.where,
            "has no current generation"
            if link is None
            else "its current generation is not there any more",
            expected=None if link is None else link,
            hint=build if self.is_built_here else "deliver one: doit publish",
        )

    @functools.cached_property
    def names(self) -> Mapping[str, str]:
        """MAC to name of every host."""
        return {host.mac: host.name for host in self.inventory.hosts}

    def find_host(self, word: str) -> Host:
        """The host that a person means: a name, MAC or address. PublishError for none."""
        wanted = plain_mac(word) or word.lower()
        if wanted in self._hosts_by_word:
            return self._hosts_by_word[wanted]
        raise PublishError(
            ascii(word)[1:-1],
            f"is no machine of the generation that {self.where} serves",
            # A MAC or address like another is another machine: only names are offered.
            hint=_nearest(wanted, sorted({host.name for host in self.inventory.hosts}))
            or "add it to recipes/hosts.toml; then doit build and doit publish",
        )

    @functools.cached_property
    def _hosts_by_word(self) -> dict[str, Host]:
        return {
            word: host
            for host in self.inventory.hosts
            # What names it best last: it wins.
            for word in (host.management, host.address, host.name, host.mac)
            if word is not None
        }

    @functools.cached_property
    def installers(self) -> tuple[str, ...]:
        """What machines can be armed for, sorted."""
        names = [name for name in self._found["installs"] if name.startswith(_INSTALL)]
        return tuple(name.removeprefix(_INSTALL) for name in names)

    def check_installer(self, name: str) -> None:
        """PublishError unless the current generation publishes this installer."""
        if name not in self.installers:
            raise PublishError(
                self.where,
                "its generation publishes no such installer",
                expected=", ".join(self.installers) or "one that some host names as `install`",
                got=ascii(name)[1:-1],
                hint=_nearest(name, self.installers)
                or "name it as `install` of a host or group; then doit build and doit publish",
            )

    @property
    def links(self) -> Mapping[str, str | None]:
        """Each name in `armed/` and where it leads; None for what is no link."""
        return self._found["links"]

    def change_links(self, links: Mapping[str, str | None]) -> bool | None:
        """Make these links in `armed/`, remove those without a target: all of it, or nothing.

        Answers whether the hook may remove them, None if nobody can say. Raises PublishError where
        something else has such a name, OSError as disks do.
        """
        told = self._ask({"links": dict(links)})
        name = told["in_the_way"]
        if name is not None:
            raise PublishError(
                f"{self.where}/{ARMED}/{name}",
                "is not a link, so it is not ours",
                hint="look at it and move it away",
            )
        may_write: bool | None = told["hook_may_write"]
        return may_write

    @property
    def hook_warning(self) -> str:
        """What to say where it may not write: an installer that cannot disarm runs for ever."""
        armed = f"{self.directory}/{ARMED}"
        by_hand = f"chgrp {HOOK_GROUP} {shlex.quote(armed)} && chmod 2775 {shlex.quote(armed)}"
        if self.login is not None:
            by_hand = f"{self.login.by_hand} {shlex.quote(by_hand)}"
        return (
            f"{self.where}/{ARMED}: {HOOK_GROUP} cannot write there, so no installer can say that "
            f"it is done, and machines install themselves again and again\n  next: {by_hand}"
        )

    @functools.cached_property
    def _found(self) -> dict[str, Any]:
        tree = f"{self.directory}/{CURRENT}"
        return self._ask(
            {
                "inventory": f"{tree}/{HOOK_INVENTORY}",
                "current": f"{self.directory}/{_CURRENT_LINK}",
                "installs": f"{tree}/{_INSTALLS}",
            }
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        request["armed"] = f"{self.directory}/{ARMED}"
        if self.login is None:
            return armed_links.answer(request)
        # Isolated (-I): what lies about on the other machine is nothing to us.
        words = ["python3", "-I", "-c", Path(armed_links.__file__).read_text("utf-8")]
        said = run_over_ssh(self.login, words, stdin=json.dumps(request).encode())
        if said.status == _NO_SUCH_PROGRAM:
            raise PublishError(
                self.where,
                "has no python3",
                hint="install it there (apt-get install python3); the boot-default hook needs it "
                "too",
            )
        try:
            told = json.loads(said.text)
        except ValueError:
            lines = said.complaints.strip().splitlines() or [f"status {said.status}"]
            raise PublishError(
                self.where,
                "did not answer as it should",
                got=ascii(lines[-1])[1:-1],
                hint=f"see what Python there is, and what logging in prints: {self.login.by_hand}",
            ) from None
        if "refused" in told:
            number, text, path = told["refused"]
            raise OSError(number, text, f"{self.login.destination}:{path}")
        return told


def find_serving_root(
    *,
    chosen: str | None,
    usual: str | None,
    targets: Mapping[str, Mapping[str, Any]],
    artifacts: str | None = None,
) -> ServingRoot:
    """The root to work on; PublishError if there is none, or if nobody can say which one.

    `chosen` is what the person said, a directory or the name of a target; `usual` the root of
    `[netboot]`; `targets` are those of `[publish]`, each with `directory` or `ssh`; `artifacts` is
    what this site builds. The usual one goes before all others if it is a serving root, one on this
    machine before those on others.
    """
    if chosen is not None:
        return _chosen_root(chosen, targets, artifacts)
    if usual is not None and _is_serving_root(usual):
        return _chosen_root(usual, targets, artifacts)
    directories = [usual, *(values["directory"] for values in targets.values())]
    candidates = [str(directory) for directory in dict.fromkeys(directories) if directory]
    found = [place for place in candidates if _is_serving_root(place)]
    if not found:
        found = [name for name, values in targets.items() if values["ssh"] is not None]
    if len(found) == 1:
        return _chosen_root(found[0], targets, artifacts)
    if found:
        raise PublishError(
            "the serving root",
            "there is more than one",
            got=", ".join(found),
            hint=f"choose: --root {found[0]}",
        )
    built = ServingRoot(directory=artifacts, is_built_here=True) if artifacts is not None else None
    if built is not None and not os.path.isdir(f"{artifacts}/{_CURRENT_LINK}"):
        raise built.without_current(None)  # so there is nothing to publish either
    raise PublishError(
        "the serving root",
        "is not on this machine",
        expected=" or ".join(candidates) or "[netboot] in recipes/site.toml",
        hint="run doit publish, or say where it is: --root DIR",
    )


def _is_serving_root(place: str) -> bool:
    """Also one whose `current` is lost: that is to be told, and no other to be taken for it."""
    return os.path.lexists(os.path.join(place, _CURRENT_LINK)) or os.path.isdir(
        os.path.join(place, _GENERATIONS)
    )


def _chosen_root(
    chosen: str, targets: Mapping[str, Mapping[str, Any]], artifacts: str | None
) -> ServingRoot:
    target = targets.get(chosen)
    if target is not None and target["ssh"] is not None:
        destination, _, directory = target["ssh"].partition(":")
        login = {name: target[name] for name in ("port", "identity", "known_hosts")}
        return ServingRoot(directory=directory, login=Login(destination=destination, **login))
    if target is None and not os.path.isdir(chosen):
        raise PublishError(
            ascii(chosen)[1:-1],
            "is neither a directory nor a target of [publish]",
            expected="a directory here" + "".join(f", or {name}" for name in targets),
            hint=_nearest(chosen, targets) or "check --root",
        )
    directory = os.path.abspath(chosen) if target is None else str(target["directory"])
    return ServingRoot(directory=directory, is_built_here=_is_same(directory, artifacts))


def _is_same(directory: str, artifacts: str | None) -> bool:
    """Also through links: /srv/boot may lead to the artifacts of a site."""
    return artifacts is not None and os.path.realpath(directory) == os.path.realpath(artifacts)


def plain_mac(word: str) -> str | None:
    """A MAC in any usual spelling as `52:54:01:02:00:07`; None for anything else."""
    match = _MAC.fullmatch(word.lower())
    return word.lower().replace("-", ":") if match else None


def _nearest(word: str, known: Collection[str]) -> str | None:
    close = difflib.get_close_matches(word, known, n=1)
    return f"the nearest is {close[0]}" if close else None
