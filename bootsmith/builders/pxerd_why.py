"""`doit why`: what brought a module, firmware or file into a pxerd, or keeps it out.

Why something is there is read from the report of its step. What is not there is looked for
where it could have come from: the modloop, the packages of the release, the features.
"""

from __future__ import annotations

import difflib
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bootsmith.errors import BuildError, RecipeError
from bootsmith.files.cache import Cache
from bootsmith.files.feature_files import find_feature, known_features
from bootsmith.files.modloop_source import open_modloop_source, reading_input
from bootsmith.files.release_packages import ReleasePackages
from bootsmith.files.stock_initramfs import StockInitramfs
from bootsmith.formats.features import expand_globs
from bootsmith.formats.human_bytes import human_bytes
from bootsmith.formats.kernel_modules import module_name, plain_module_path, read_module_catalog
from bootsmith.formats.pxerd_report import RELEASE, PxerdReport, Thing, read_pxerd_report

Say = Callable[[str], None]

_NEAREST = 3


@dataclass(frozen=True, kw_only=True)
class PxerdFiles:
    """A built pxerd, its report, and what it was made from."""

    pxerd: Path
    report: Path
    modloop: Path
    iso: Path
    facts: Path
    feature_directories: tuple[Path, ...]
    cache: Path


def explain_pxerd(
    *, pxerds: Mapping[str, Mapping[str, object]], operands: Sequence[str], say: Say
) -> None:
    """Answer `doit why SET [NAME...]`: for each name a paragraph, for none a table by feature.

    `pxerds` maps each set to the values of its PxerdFiles. RecipeError for no such set,
    BuildError if it is not built.
    """
    if not operands or operands[0] not in pxerds:
        raise RecipeError(
            "doit why",
            "which pxerd?" if not operands else f"there is no pxerd {operands[0]}",
            expected=f"one of {', '.join(sorted(pxerds))}",
            hint="doit why --help",
        )
    name, *words = operands
    files = PxerdFiles(**pxerds[name])  # type: ignore[arg-type]
    for path in (files.report, files.pxerd):
        if not path.exists():
            raise BuildError(path, "is not built yet", hint=f"run: doit pxerd:{name}")
    inside = _Inside(files)
    for word in words:
        for line in inside.answer(word):
            say(line)
    if not words:
        for line in inside.table():
            say(line)


class _Inside:
    """A pxerd, its report, and where things could have come from; read when they are needed."""

    def __init__(self, files: PxerdFiles) -> None:
        self._files = files
        self._cache = Cache(files.cache)
        self._report: PxerdReport = read_pxerd_report(
            files.report.read_bytes(), subject=files.report
        )

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Names of all files and links in the pxerd to their sizes."""
        with reading_input(self._files.pxerd):
            members = StockInitramfs(self._files.pxerd, self._cache).members()
        return {one.name: one.size_bytes for one in members if not stat.S_ISDIR(one.mode)}

    @cached_property
    def _in_modloop(self) -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
        """Modules by name, built-in ones by name, names of firmware."""
        with open_modloop_source(self._files.modloop, self._cache) as source:
            catalog = read_module_catalog(source.texts, subject=str(self._files.modloop))
            lines = source.texts.get("modules.builtin", b"").decode("utf-8", "surrogateescape")
            return (
                dict(catalog.path_by_name),
                {module_name(path): path for path in lines.split()},
                frozenset(source.firmware.members),
            )

    def answer(self, word: str) -> Iterator[str]:
        """The paragraph about one name."""
        things = self._things(word)
        if things:
            for thing in things:
                yield f"{thing.short}: {self._described(thing)}"
                yield from (f"  {line}" for line in self._reasons(thing))
            return
        yield from self._absent(word)

    # What is there

    def _things(self, word: str) -> list[Thing]:
        """What `word` can mean: a module, firmware, a file, a package; the first that is there."""
        known = sorted(self._report.things)
        name = module_name(word)
        is_path = "/" in word.strip("/")
        modules = [
            thing
            for thing in known
            if thing.kind == "module"
            and (
                plain_module_path(thing.name) == plain_module_path(word)
                if is_path
                else module_name(thing.name) == name
            )
        ]
        if modules:
            return modules
        found = [thing for thing in known if _is_called(thing.name, word)]
        if not found:
            found = [Thing("file", one) for one in sorted(self._sizes) if _is_called(one, word)]
        if not found:
            packages = self._report.package_of
            found = [Thing("file", file) for file in sorted(packages) if packages[file] == word]
        return found

    def _place(self, thing: Thing) -> str:
        if thing.kind == "module":
            return f"{self._report.module_directory}/{plain_module_path(thing.name)}"
        if thing.kind == "firmware":
            return f"{self._report.firmware_directory}/{thing.name}"
        return thing.name

    def _described(self, thing: Thing) -> str:
        size = self._sizes.get(self._place(thing))
        words = [] if size is None else [human_bytes(size)]
        if thing.kind == "module":
            words = [thing.name, *words]
        elif thing.kind == "firmware":
            words = ["firmware", *words]
        elif thing.name in self._report.package_of:
            words += [f"of package {self._report.package_of[thing.name]}"]
        return ", ".join(words) or "a file"

    def _reasons(self, thing: Thing) -> Iterator[str]:
        end = thing
        for one, relation, asker in self._report.chain(thing):
            start = "" if one == thing else f"{one.short}: "
            yield f"{start}{relation} {asker.short}"
            end = asker
        start = "" if end == thing else f"{end.short}: "
        if self._report.is_stock(end):
            yield f"{start}in the release's own initramfs{self._treated(end)}"
        if end.kind == "file" and end.name in self._report.signature_files:
            yield f"{start}the site's own, for its modloop: [modloop] of the release recipe"
        for line in self._report.lines(end):
            yield f"{start}feature {line.feature}, {line.at}: {line.glob}"

    def _treated(self, thing: Thing) -> str:
        directory = f"{self._report.module_directory}/modules."
        if thing.kind == "file" and thing.name.startswith(directory):
            return ", written anew for the modules of this one"
        if thing == Thing("file", "init") and self._report.patched:
            return f", patched by {', '.join(self._report.patched)}"
        return ""

    # What is not there

    def _absent(self, word: str) -> Iterator[str]:
        name = module_name(word)
        modules, built_in, firmware = self._in_modloop
        named_firmware = [one for one in sorted(firmware) if _is_called(one, word)]
        if name in built_in:
            yield f"{name}: built into the kernel ({built_in[name]})"
            for line in self._report.built_in.get(built_in[name], ()):
                yield f"  feature {line.feature}, {line.at}: {line.glob}"
        elif name in modules and ("/" not in word or modules[name].startswith(word)):
            plain = plain_module_path(modules[name])
            yield f"{name}: not in this pxerd; the modloop it is made from has {modules[name]}"
            yield from self._bringers(plain, "modules", plain)
        elif named_firmware:
            for one in named_firmware:
                yield f"{one}: not in this pxerd; the modloop it is made from has it"
                yield "  no added module names it: ask for the module that does"
        elif any(_is_called(one, word) for one in self._report.absent_firmware):
            yield f"{word}: firmware that a module here names, and the modloop lacks"
            for one in self._report.absent_firmware:
                if _is_called(one, word):
                    yield from (f"  {line}" for line in self._reasons(Thing("firmware", one)))
        elif word.startswith("/"):
            yield from self._absent_file(word)
        else:
            yield f"{word}: not in this pxerd; nothing of this kernel is called so"
            files = (one for one in self._sizes if not one.endswith(".ko"))
            yield from self._nearest(word, [*modules, *built_in, *firmware, *files])

    def _absent_file(self, word: str) -> Iterator[str]:
        packages = ReleasePackages(iso=self._files.iso, facts=self._files.facts, cache=self._cache)
        path = word.lstrip("/")
        bare = path.removeprefix("usr/")
        with reading_input(self._files.iso):
            found = packages.find({word: [path, bare, f"usr/{bare}"]}).get(word)
        if found:
            yield f"{word}: not in this pxerd; package {found[0].package} of the release has it"
            yield from self._bringers(path, "files", word)
        else:
            yield f"{word}: not in this pxerd, nor in a package of the release"
            yield from self._nearest(path, self._sizes)

    def _bringers(self, path: str, kind: str, line: str) -> Iterator[str]:
        """Features that would bring `path`, else the line that would."""
        directories = self._files.feature_directories
        features = [find_feature(name, directories) for name in known_features(directories)]
        matching = [
            feature
            for feature in features
            if any(expand_globs(getattr(feature, kind), [path]).values())
        ]
        for feature in matching:
            yield f"  feature {feature.name} would bring it: name it in the release recipe"
        if not matching:
            yield f"  this line in recipes/features.d/NAME.{kind} would bring it: {line}"

    def _nearest(self, word: str, names: Iterable[str]) -> Iterator[str]:
        short = sorted({name.rpartition("/")[2] for name in names})
        near = difflib.get_close_matches(word.rpartition("/")[2], short, n=_NEAREST)
        if near:
            yield f"  nearest names: {', '.join(near)}"

    # The table

    def table(self) -> Iterator[str]:
        """How much each feature brought; what two of them ask for counts for the first."""
        counts = {name: [0, 0, 0, 0] for name in (RELEASE, *self._report.features)}
        columns = {"module": 0, "firmware": 1, "file": 2}
        roots = {self._place(thing): thing for thing in self._report.things}
        for place, size in self._sizes.items():
            thing = roots.get(place, Thing("file", place))
            row = counts[self._report.root(thing)]
            row[columns[thing.kind]] += 1
            row[3] += size
        total = [sum(row[at] for row in counts.values()) for at in range(4)]
        labels = {name: name if name == RELEASE else f"feature {name}" for name in counts}
        width = max(map(len, [*labels.values(), "together"]))
        yield f"{'':<{width}}  modules  firmware  files       size"
        for name, row in (*counts.items(), ("together", total)):
            label = labels.get(name, name)
            yield f"{label:<{width}}  {row[0]:7}  {row[1]:8}  {row[2]:5}  {human_bytes(row[3]):>9}"
        packed = human_bytes(self._files.pxerd.stat().st_size)
        yield f"Sizes are of what is inside; packed it is {packed}."


def _is_called(name: str, word: str) -> bool:
    """Does `word` name this path: all of it, its end, or its last part without suffixes?"""
    path = word.strip("/")
    return f"/{name}".endswith(f"/{path}") or f"/{plain_firmware_name(name)}".endswith(f"/{path}")


def plain_firmware_name(name: str) -> str:
    """The name a module asks by, whatever the file is compressed with."""
    for suffix in (".zst", ".xz", ".gz"):
        name = name.removesuffix(suffix)
    return name
