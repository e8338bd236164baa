"""What a netboot tree promises, held against what is in it.

Every configuration is read as its loader reads it: the files it names must be there, and so must
everything that its kernel words name; the modloop must be the one that came with the kernel.
Other servers' URLs are none of our business, a head node that is not ours is.

No fault means that machines find what they ask for; whether it fits and works is for the checks
of the files themselves, and for a boot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bootsmith.errors import FormatError
from bootsmith.formats.ipxe_script import BOOT_SCRIPT
from bootsmith.formats.named_boots import loader_of, read_named_files
from bootsmith.formats.netboot_names import GRUB, IPXE, PXELINUX
from bootsmith.formats.netboot_network import ARMED, CURRENT, GENERATION, HERE
from bootsmith.formats.netboot_tree import NetbootTree

_OWN_ARCHIVE = "{MAC}"
_MOST_HOPS = 40
_NO_NETWORK = ("off", "none", "")


@dataclass(frozen=True, kw_only=True)
class NetbootFault:
    """Something that a machine would ask for in vain. `line` counts from 1; None for a link."""

    path: str
    line: int | None = None
    problem: str

    @property
    def subject(self) -> str:
        """`netboot/PATH:LINE`."""
        return f"netboot/{self.path}" + (f":{self.line}" if self.line else "")


def netboot_faults(
    tree: NetbootTree, read: Callable[[str], bytes] | None = None
) -> Iterator[NetbootFault]:
    """Every fault of `tree`, in the order of paths.

    `read` gives the content of a file of the tree by its path; it is asked for configurations
    that are the same in every generation, and without it those are not read.
    """
    check = _Check(tree)
    for path in sorted(tree.paths):
        if path in tree.links:
            if not check.exists(path):
                yield NetbootFault(path=path, problem=f"leads nowhere: {tree.links[path]}")
        elif loader := loader_of(path):
            text = tree.texts.get(path)
            if text is None and read is not None:
                text = read(path).decode("ascii", "replace")
            if text is not None:
                for line, problem in check.configuration(loader, text):
                    yield NetbootFault(path=path, line=line, problem=problem)


class _Check:
    """One tree, and what of it was found out."""

    def __init__(self, tree: NetbootTree) -> None:
        self._tree = tree
        self._names = {*tree.files, *tree.texts}
        self._directories = tree.directories
        self._digests: dict[str, frozenset[str]] = {}
        script = tree.texts.get(BOOT_SCRIPT, "")
        found = re.search(rf"(http://[^/\s]+)/{re.escape(HERE)}/", script)
        self._url = found[1] if found else None

    def exists(self, path: str) -> bool:
        """Whether a file or a directory is there, links followed."""
        return self._resolved(path) is not None

    def _resolved(self, path: str) -> str | None:
        links = self._tree.links
        for _ in range(_MOST_HOPS):
            if path in self._names or path in self._directories:
                return path
            if path not in links:
                return None
            path = _joined(path.rpartition("/")[0], links[path])
        return None

    def configuration(self, loader: str, text: str) -> Iterator[tuple[int, str]]:
        """Line and problem of each fault."""
        try:
            named = read_named_files(loader, text, subject=loader)
        except FormatError as error:
            yield 1, error.problem
            return
        for name in named.others:
            _, problem = self._named_file(loader, name)
            if problem is not None:
                yield named.lines[name], problem
        for boot in named.boots:
            kernel = ""
            for name in boot.files:
                path, problem = self._named_file(loader, name)
                if problem is not None:
                    yield named.lines[name], problem
                if name == boot.kernel and path is not None:
                    kernel = path
            for problem in self._words(boot.options, kernel):
                yield boot.line, problem

    def _named_file(self, loader: str, name: str) -> tuple[str | None, str | None]:
        """The path in the tree that a loader's name stands for, and what is wrong with it."""
        start = {PXELINUX: "::", IPXE: None, GRUB: "/"}[loader]
        relative = "tftp/" if loader == PXELINUX else None
        if "$" in name or f"/{ARMED}/" in name or name.startswith(f"::{ARMED}/"):
            return None, None
        path, problem = self._in_tree(name, start)
        if path is None and problem is None and relative and "//" not in name and ":" not in name:
            path = relative + name
        if path is not None and not self.exists(path):
            problem = f"names {path}, which is not there"
        return path, problem

    def _in_tree(self, name: str, start: str | None) -> tuple[str | None, str | None]:
        """As `_named_file`, for whole names only; neither for what is another server's."""
        for mark in (f"{HERE}/", f"{CURRENT}/"):
            before, found, path = name.partition(mark)
            if found:
                if before in (start, f"{self._url}/"):
                    return path, None
                return None, f"names another server than the others do: {name}"
        if "generations/" in name:
            return None, f"names a generation that is not its own: {name}"
        return None, None

    def _words(self, words: Sequence[str], kernel: str) -> Iterator[str]:
        """What is wrong with the kernel words of one configuration."""
        values = {}
        for word in words:
            name, _, value = word.partition("=")
            values[name] = value
        if "modloop" not in values and "alpine_repo" not in values and "alpine_dev" not in values:
            return  # not Alpine's
        if values.get("ip", "") in _NO_NETWORK:
            yield "no ip= that brings up the network"
        medium = ""
        if "alpine_dev" in values:
            medium, problem = self._medium(values["alpine_dev"])
            if problem is not None:
                yield problem
        elif "alpine_repo" not in values:
            yield "neither alpine_repo= nor alpine_dev=: there are no packages"
        yield from self._repository(values.get("alpine_repo"))
        yield from self._archive(values.get("apkovl"), medium)
        if medium or "alpine_dev" not in values or "://" in values.get("modloop", ""):
            yield from self._modloop(values.get("modloop"), medium, kernel)

    def _medium(self, device: str) -> tuple[str, str | None]:
        """The path of an NFS medium in the tree, empty if it is another server's."""
        form = rf"nfs:([^:]+):(/[^:]*)/{re.escape(HERE)}/([^:]+)(?::.*)?"
        found = re.fullmatch(form, device)
        if found is None:
            if GENERATION in device or "generations/" in device:
                return "", f"alpine_dev={device}: not an NFS medium of this generation"
            return "", None
        server, _, path = found.groups()
        if self._url is not None and server != self._url.removeprefix("http://").split(":")[0]:
            return "", f"alpine_dev={device}: names another server than the others do"
        for name in (".alpine-release", "apks/.boot_repository"):
            if not self.exists(f"{path}/{name}"):
                return "", f"alpine_dev={device}: {path}/{name} is not there"
        return path, None

    def _repository(self, repositories: str | None) -> Iterator[str]:
        for repository in (repositories or "").split(","):
            path, problem = self._in_tree(repository, None)
            if path is not None and not self.exists(f"{path}/.boot_repository"):
                problem = f"{path}/.boot_repository is not there"
            if problem is not None:
                yield f"alpine_repo={repository}: {problem}"

    def _archive(self, archive: str | None, medium: str) -> Iterator[str]:
        if archive is None:
            return
        path, problem = self._in_tree(archive, None)
        if path is None and problem is None and medium and ":" not in archive:
            path = f"{medium}/{archive.lstrip('/')}"
        if path is not None:
            place = path.rpartition("/")[0] if _OWN_ARCHIVE in path else path
            if not self.exists(place):
                problem = f"{place} is not there"
        if problem is not None:
            yield f"apkovl={archive}: {problem}"

    def _modloop(self, modloop: str | None, medium: str, kernel: str) -> Iterator[str]:
        if modloop is None or modloop == "none":
            return
        path, problem = self._in_tree(modloop, None)
        if path is None and problem is None and medium and modloop.startswith("/"):
            path = medium + modloop
        if path is not None and problem is None:
            problem = self._modloop_problem(path, kernel)
        elif problem is None and modloop.startswith("/"):
            problem = "there is no medium that it could be on"
        if problem is not None:
            yield f"modloop={modloop}: {problem}"

    def _modloop_problem(self, path: str, kernel: str) -> str | None:
        """What is wrong with a modloop of the tree: it must be one that came with the kernel."""
        found = self._resolved(path)
        if found is None or found not in self._tree.files:
            return f"{path} is not there"
        directory = kernel.rpartition("/")[0].removeprefix("tftp/").removeprefix("http/")
        fitting = self._digests_in(f"http/{directory}") if directory else frozenset()
        if fitting and self._tree.files[found].sha256 not in fitting:
            return f"is not the modloop of {kernel}"
        return None

    def _digests_in(self, directory: str) -> frozenset[str]:
        """Of all files there; asked for the same few directories again and again."""
        if directory not in self._digests:
            start = f"{directory}/"
            found = (f.sha256 for name, f in self._tree.files.items() if name.startswith(start))
            self._digests[directory] = frozenset(found)
        return self._digests[directory]


def _joined(directory: str, target: str) -> str:
    parts = [] if target.startswith("/") else directory.split("/")
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(part for part in parts if part)
