"""The house rules as functions: source in, violations out, each one readable line.

Kept apart from the tests, so that every rule can be shown a breach as well as the tree.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

# docs/architecture.md, "Rooms": who may import whom. A dotted name allows one module only.
ALLOWED_IMPORTS: Mapping[str, frozenset[str]] = {
    "errors": frozenset(),
    "formats": frozenset({"errors"}),
    "files": frozenset({"errors", "formats"}),
    "tools": frozenset({"errors", "files"}),
    "site": frozenset({"errors", "formats"}),
    "builders": frozenset({"errors", "site", "formats", "files", "tools"}),
    "smoke": frozenset({"errors", "site", "formats", "files", "tools"}),
    "reproduce": frozenset({"errors", "formats", "files", "tools"}),
    "generations": frozenset(
        {"errors", "site", "formats", "files", "smoke.evidence", "smoke.parts"}
    ),
    "netboot": frozenset({"errors", "formats", "files", "tools"}),
    "publish": frozenset({"errors", "formats", "files", "tools", "generations"}),
    "pages": frozenset({"errors", "formats", "files", "tools", "generations", "smoke", "graph"}),
    "drafts": frozenset({"errors", "formats", "files", "site"}),
    "graph": frozenset({"errors", "site"}),
    # Keys and execution do what the rest of graph only declares.
    "graph.code": frozenset({"errors", "files"}),
    "graph.key": frozenset({"errors", "files"}),
    "graph.execute": frozenset({"errors", "files", "tools.catalog"}),
    "graph.snapshot": frozenset({"errors", "files", "front", "tools.catalog"}),
    "front": frozenset({"errors", "overview"}),
    "overview": frozenset({"errors"}),
    "completion": frozenset({"graph.verb"}),
    "command_line": frozenset({"errors", "graph.verb", "overview"}),
    "reporting": frozenset({"formats.human_bytes", "front", "reporting_live"}),
    "reporting_live": frozenset({"formats.human_bytes", "reporting"}),
    "doit_bridge": frozenset(
        {
            "command_line",
            "completion",
            "errors",
            "files.storage_errors",
            "front",
            "graph",
            "reporting",
            "site.loader",
        }
    ),
}

# formats/ is bytes in, bytes out: no process, clock, chance, network, environment, disk.
IMPURE_MODULES = frozenset(
    "asyncio datetime fcntl getpass glob pathlib platform random secrets shutil signal "
    "socket subprocess sys tempfile time urllib uuid".split()
)
# Of os, what asks nothing of the disk, and what decides speed but not bytes.
PURE_OS_NAMES = frozenset({"os.fsdecode", "os.fsencode", "os.cpu_count"})

# Whatever starts a program, other than through tools/run.py.
STARTERS = re.compile(
    r"os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?|fork|forkpty)"
    r"|pty\.\w+|asyncio\.create_subprocess_\w+"
)

# What code may call without a line in debian-packages.txt: Debian's Essential packages.
ESSENTIAL_PROGRAMS = frozenset(
    "bash blkid cat chmod cp date dd dpkg dpkg-deb dpkg-query env false find grep gzip ln "
    "locale ls mkdir mount mv nsenter printf rm sed setpriv sh sha256sum sleep sort stat tar test "
    "touch true truncate unshare".split()
)

# Called where they happen to be installed, and nothing is missed where they are not.
WELCOME_PROGRAMS = frozenset({"diffoscope"})

# Spelled so that this file does not break its own rule.
UNWANTED_WORDS: Mapping[str, str] = {
    r"\bTO[D]O\b": "unfinished: finish it, or say in the docs what is not supported",
    r"\bFIX[M]E\b": "unfinished: finish it",
    r"\bX[X]X\b": "unfinished: finish it",
    r"\bNotImplemented[E]rror\b": "unfinished: leave the function out until it is there",
    r"/wor[k]/|/far[m]/|/tmp/[w]/|/opt/pyp[i]|/opt/whee[l]s": "a path of one machine",
    r"/home/[a-z]|/root/\.[p]yenv": "a path of one machine",
    r"\bpypi\.[o]rg\b|files\.pythonhos[t]ed": "a registry: where packages come from is the "
    "user's own pip configuration",
    r"\bissue [A][^a-z]|\bissue [B-H]\b": "a plan's word: say what it is about instead",
    r"(?<!ssh-)(?<!gpg-)\b(sub-?)?agen[t]s?\b|\bL[L]M\b|\bC[o]pilot\b": "a word about who wrote it",
}

_CALLS_A_PROGRAM = frozenset(
    "run_program running_program find_program program_version run Popen check_call "
    "check_output".split()
)


def forbid(breaches: Sequence[str]) -> None:
    """Fail the test with the breaches themselves, one a line, and nothing else."""
    if breaches:
        pytest.fail("\n".join(breaches), pytrace=False)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One Python file: its path relative to the checkout and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def module(self) -> str:
        """Dotted name below the package: `formats.cpio`, `errors`."""
        parts = Path(self.path).with_suffix("").parts[1:]
        return ".".join(parts).removesuffix(".__init__")

    @property
    def room(self) -> str:
        """First part of the dotted name."""
        return self.module.split(".", maxsplit=1)[0]


def parse_source(path: str, text: str) -> Source:
    """A Source from text."""
    return Source(path=path, tree=ast.parse(text, filename=path))


def read_sources(checkout: Path, *places: str) -> list[Source]:
    """Every Python file at or below `places`, sorted."""
    found: list[Path] = []
    for place in places:
        path = checkout / place
        found += [path] if path.is_file() else path.rglob("*.py")
    return [
        parse_source(path.relative_to(checkout).as_posix(), path.read_text("utf-8"))
        for path in sorted(found)
    ]


# --- imports -----------------------------------------------------------------------------


def imported_names(source: Source) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, wherever it stands; `from a import b` is `a.b`.

    Imports under TYPE_CHECKING count: who knows another's types depends on it.
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def import_violations(sources: Iterable[Source]) -> list[str]:
    """Imports inside the package against its direction, and relative ones."""
    found = []
    for source in sources:
        allowed = ALLOWED_IMPORTS.get(source.module, ALLOWED_IMPORTS.get(source.room))
        for line, name in imported_names(source):
            where = f"{source.path}:{line}: imports {name}"
            if name.startswith("."):
                found.append(f"{where}; relative imports hide the direction: name it in full")
            if not name.startswith("bootsmith."):
                continue
            target = name.removeprefix("bootsmith.")
            room = target.split(".", maxsplit=1)[0]
            if allowed is None:
                found.append(f"{where}; {source.module} has no line in ALLOWED_IMPORTS")
            elif room != source.room and not _is_below_any(target, allowed):
                kind = source.module if source.module in ALLOWED_IMPORTS else source.room
                found.append(
                    f"{where}; {kind} may import {', '.join(sorted(allowed)) or 'nothing'}"
                )
            elif room == source.room == "builders" and not _are_one_builder(target, source.module):
                found.append(f"{where}; sibling builders never import each other")
    return found


def _is_below_any(target: str, allowed: frozenset[str]) -> bool:
    return any(f"{target}.".startswith(f"{name}.") for name in allowed)


def _are_one_builder(target: str, importer: str) -> bool:
    return target.split(".")[1] == importer.split(".")[1]


def lone_importer_violations(
    sources: Iterable[Source], *, library: str, importer: str
) -> list[str]:
    """Imports of `library` anywhere but in the file `importer`."""
    return [
        f"{source.path}:{line}: imports {name}; only {importer} may"
        for source in sources
        for line, name in imported_names(source)
        if _is_below_any(name, frozenset({library})) and source.path != importer
    ]


def starter_violations(sources: Iterable[Source], *, door: str) -> list[str]:
    """Uses of os.system, os.exec… and the like outside the file `door`."""
    found = []
    for source in sources:
        if source.path == door:
            continue
        uses = [
            (node.lineno, ast.unparse(node))
            for node in ast.walk(source.tree)
            if isinstance(node, ast.Attribute)
        ]
        for line, name in [*uses, *imported_names(source)]:
            if STARTERS.fullmatch(name):
                found.append(f"{source.path}:{line}: {name}; programs start in {door} only")
    return found


def purity_violations(sources: Iterable[Source]) -> list[str]:
    """What formats/ may not touch."""
    found = []
    for source in sources:
        if source.room != "formats":
            continue
        for line, name in imported_names(source):
            if name.split(".")[0] in IMPURE_MODULES or name.startswith("os."):
                found.append(f"{source.path}:{line}: imports {name}; formats are pure")
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Attribute):
                name = ast.unparse(node)
                if re.fullmatch(r"os\.\w+", name) and name not in PURE_OS_NAMES:
                    found.append(f"{source.path}:{node.lineno}: uses {name}; formats are pure")
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in {"open", "print", "input"}
            ):
                found.append(
                    f"{source.path}:{node.lineno}: calls {node.func.id}(); formats are pure"
                )
    return found


# --- shapes ------------------------------------------------------------------------------


def logic_violations(source: Source) -> list[str]:
    """Everything in dodo.py that decides something: branches, loops, arithmetic, classes.

    Allowed are imports, assignments of calls, and functions of one statement.
    """
    deciding = (
        ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.With, ast.Match, ast.ClassDef,
        ast.Lambda, ast.BoolOp, ast.Compare, ast.comprehension, ast.AugAssign, ast.Raise,
    )  # fmt: skip
    found = [
        (node.lineno if hasattr(node, "lineno") else 0, type(node).__name__)
        for node in ast.walk(source.tree)
        if isinstance(node, deciding)
    ]
    for node in ast.walk(source.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            statements = [part for part in node.body if not _is_docstring(part)]
            if len(statements) > 1:
                found.append((node.lineno, f"{node.name}() of {len(statements)} statements"))
    return [
        f"{source.path}:{line}: {what}; {source.path} holds no logic, doit_bridge.py does"
        for line, what in sorted(found)
    ]


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def vague_name_violations(paths: Iterable[str]) -> list[str]:
    """Modules whose name says nothing about their subject."""
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "lib"}
    return [
        f"{path}: a name that fits anything; name the one subject"
        for path in paths
        if vague & set(Path(path).with_suffix("").parts)
    ]


def unwanted_words(path: str, text: str) -> list[str]:
    """Lines that hold a word of UNWANTED_WORDS."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, reason in UNWANTED_WORDS.items():
            match = re.search(pattern, line)
            if match:
                found.append(f"{path}:{number}: {match.group()!r}: {reason}")
    return found


# --- programs ----------------------------------------------------------------------------


def called_programs(source: Source) -> tuple[dict[str, int], list[str]]:
    """Programs that a file calls, with a line each; and the calls that cannot be read.

    Read are: the first word of an argv list given to run_program and its like, directly or
    through a name assigned in the same file, and the `tools=(…)` of a Step.
    """
    constants = _assigned_values(source.tree)
    programs: dict[str, int] = {}
    unreadable = []
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg == "tools" and _name_of(node.func) == "Step":
                programs.update(dict.fromkeys(_texts_in(keyword.value), node.lineno))
        if _name_of(node.func) not in _CALLS_A_PROGRAM or not node.args:
            continue
        if _name_of(node.func) == "run" and not _is_subprocess(node.func):
            continue
        heads = _first_words(node.args[0], constants)
        if heads is None:
            unreadable.append(
                f"{source.path}:{node.lineno}: {ast.unparse(node.args[0])}: "
                "cannot see which program this is; let the argv begin with its name"
            )
        else:
            programs.update(dict.fromkeys(heads, node.lineno))
    return programs, unreadable


def _assigned_values(tree: ast.Module) -> dict[str, list[ast.expr]]:
    values: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(value)
    return values


def _first_words(
    node: ast.expr, constants: Mapping[str, list[ast.expr]], depth: int = 0
) -> list[str] | None:
    """Every program that `node` may name; None if one cannot be read."""
    if depth > 8:
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, (ast.List, ast.Tuple)) and node.elts:
        return _first_words(node.elts[0], constants, depth + 1)
    if isinstance(node, ast.Starred):
        return _first_words(node.value, constants, depth + 1)
    if isinstance(node, ast.Call) and _name_of(node.func) == "Path" and node.args:
        return _first_words(node.args[0], constants, depth + 1)
    if isinstance(node, ast.BinOp):  # ["x", …] + more
        return _first_words(node.left, constants, depth + 1)
    if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.executable":
        return ["python3"]
    if isinstance(node, ast.Name) and node.id in constants:
        # Assigned more than once, the list is wrapped or lengthened later: what can be read.
        read = [_first_words(value, constants, depth + 1) for value in constants[node.id]]
        return [word for words in read if words for word in words] or None
    return None


def _name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_subprocess(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and ast.unparse(function.value) == "subprocess"


def _texts_in(node: ast.expr) -> list[str]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def texts_of(sources: Iterable[Source]) -> set[str]:
    """Every string constant, and every imported name as `python:MODULE`."""
    texts = set()
    for source in sources:
        texts |= set(_texts_in(source.tree))
        texts |= {f"python:{name.split('.')[0]}" for _, name in imported_names(source)}
    return texts


def data_paths(source: Source) -> Iterator[tuple[int, str]]:
    """(line, path) of every string constant that is a path of a package's data."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = re.fullmatch(r"(/usr/(?:lib|share)/\S+?)\n?", node.value)
            if match:
                yield node.lineno, match[1]


def is_mentioned(used: str, texts: set[str]) -> bool:
    """Whether code names `used`: itself, or for a path a directory that it lies in."""
    if used in texts:
        return True
    parents = {str(parent) for parent in Path(used).parents if len(parent.parts) > 3}
    return used.startswith("/") and bool(parents & texts)


# --- documents ---------------------------------------------------------------------------


def link_targets(markdown: str) -> Iterator[tuple[int, str]]:
    """(line, target) of every link outside code."""
    fenced = False
    for number, line in enumerate(markdown.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
                yield number, target


def heading_anchors(markdown: str) -> set[str]:
    """Anchors that headings get on the usual forges."""
    anchors = set()
    fenced = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        match = None if fenced else re.match(r"#+ +(.*)", line)
        if match:
            kept = re.sub(r"[^\w\- ]", "", match[1].strip().lower())
            anchors.add(kept.replace(" ", "-"))
    return anchors


def link_violations(pages: Mapping[str, str], *, checkout: Path) -> list[str]:
    """Links that lead nowhere; `pages` is path relative to the checkout to text."""
    found = []
    for path, text in pages.items():
        for line, target in link_targets(text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            aim = (checkout / path).parent / name if name else checkout / path
            if not aim.exists():
                found.append(f"{path}:{line}: {target}: no such file")
            elif anchor and aim.suffix == ".md" and anchor not in heading_anchors(aim.read_text()):
                found.append(f"{path}:{line}: {target}: no such heading")
    return found


def unlinked_pages(pages: Mapping[str, str], *, entrances: Sequence[str]) -> list[str]:
    """Pages below docs/ to which no entrance (README, docs index) links."""
    linked = set()
    for entrance in entrances:
        for _, target in link_targets(pages.get(entrance, "")):
            name = target.partition("#")[0]
            linked.add((Path(entrance).parent / name).as_posix())
    return [
        f"{path}: no link leads here; link it from {' or '.join(entrances)}"
        for path in pages
        if path.startswith("docs/") and path not in entrances and path not in linked
    ]
