"""What can be said of a command line before anything is done: help, and words that lead nowhere.

doit answers a misspelt word with its own terms and an unknown option with a dump of its
tables; it has no help for tasks. So the words are looked at here first. Whatever this
module does not understand (doit's own commands and their options) is left to doit.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from bootsmith.errors import PublishError
from bootsmith.graph.verb import Verb
from bootsmith.overview import DOIT_COMMANDS, HELP

# Options of `doit run` whose value may be a word of its own.
_TAKES_VALUE = frozenset(
    "-f --file -d --dir -n --process -P --parallel-type -o --output-file "
    "-r --reporter -v --verbosity --db-file --backend --codec --check_file_uptodate".split()
)
_MOST_SHOWN = 3  # of the names that begin as a word does
_EXPLAIN = """usage: doit explain [STEP | FILE]...

why a step would be done again, and what reads a file; everything without a word

examples:
  doit explain pxerd:standin-virt            # each input, old and new, that makes it stale
  doit explain overlays/default/etc/motd     # the steps that read it"""


def early_answer(
    argv: Sequence[str], *, tasks: Mapping[str, str], files: Collection[str], verbs: Sequence[Verb]
) -> str | None:
    """Help that was asked for, or None. PublishError for a word that leads nowhere.

    `argv` begins with the program; `tasks` maps names to one-line summaries; `files` are
    the targets, as doit shows them.
    """
    by_name = {verb.name: verb for verb in verbs}
    words = _after_options(argv[1:])
    first = next(words, None)
    if first in ("list", "clean"):
        for word in words:
            if not word.startswith("-") and not _is_known(word, tasks, files):
                raise _unknown(word, tasks)
    if first is None or first in DOIT_COMMANDS:
        return None
    if first == "explain":
        return _EXPLAIN if set(HELP) & {*words} else None
    if first in by_name:
        return _verb_answer(by_name[first], list(words))
    for word in (first, *words):
        if word in by_name or word == "explain":
            return None
        if word.startswith("-"):
            return _option_answer(first, word, tasks)
        if "=" not in word and not _is_known(word, tasks, files):
            raise _unknown(word, tasks)
    return None


def _after_options(words: Sequence[str]) -> Iterator[str]:
    """The words from the first that names something; `run` and what stands before it are doit's."""
    rest = iter(words)
    for word in rest:
        if word in _TAKES_VALUE:
            next(rest, None)
        elif not word.startswith("-") and word != "run" and "=" not in word:
            yield word
            break
    yield from rest


def _verb_answer(verb: Verb, words: list[str]) -> str | None:
    parsed = verb.sorted_words({"operands": words})
    if parsed["help"]:
        return verb.usage
    if parsed["operands"] and not verb.operands:
        raise PublishError(
            f"doit {verb.name}",
            "takes no words",
            got=" ".join(parsed["operands"]),
            hint=f"doit {verb.name} --help",
        )
    return None


def _option_answer(task: str, option: str, tasks: Mapping[str, str]) -> str:
    if option in HELP:
        summary = tasks.get(task, "make this file")
        return (
            f"usage: doit [--quiet | --json] [-n N] {task}\n\n{summary}\n\n"
            f"  -n N      do up to N steps at once\n"
            f"  --quiet   say what failed and nothing else; before the name, as -n\n"
            f"  --json    one object a line, for programs\n"
            f"  lock=fail end at once if another run is at work, rather than wait for it\n\n"
            f"what stands behind it: doit explain {task}; everything there is: doit list --all"
        )
    raise PublishError(
        f"doit {task}",
        f"{option} is no option of it",
        hint="options of a run stand before the name: doit -n 2 build",
    )


def _is_known(word: str, tasks: Mapping[str, str], files: Collection[str]) -> bool:
    if word in tasks or word in files:
        return True
    return "*" in word and any(fnmatch.fnmatch(name, word) for name in tasks)


def _unknown(word: str, tasks: Mapping[str, str]) -> PublishError:
    near = _nearest(word.rstrip("*"), tasks)
    return PublishError(
        word,
        "is neither a command nor a step nor a file that a step makes",
        hint=f"did you mean: {near}" if near else "doit list --all shows what there is",
    )


def _nearest(word: str, tasks: Iterable[str]) -> str | None:
    """The command that was probably meant: a name, or all names that begin alike."""
    names = [*tasks, "list", "clean"]
    if word.rstrip(":") in names:
        return f"doit {word.rstrip(':')}"
    beginnings = {name[: name.rindex("-") + 1] for name in names if ":" in name and "-" in name}
    alike = [name for name in names if ":" in word and name.startswith(word)]
    if not alike:
        known = [*names, *sorted(beginnings)]
        near = next(iter(difflib.get_close_matches(word, known, n=1)), None)
        if near is None or near in names:
            return near and f"doit {near}"
        word, alike = near, [name for name in names if name.startswith(near)]
    if len(alike) == 1:
        return f"doit {alike[0]}"
    shown, rest = alike[:_MOST_SHOWN], len(alike) - _MOST_SHOWN
    listed = ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
    return f"doit '{word}*', which is {listed}"
