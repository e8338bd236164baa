"""The words that a command line begins with, seen to before doit is: `doit help`, and options.

doit's own help is about writing tasks, and what it says of an option that it does not know is
a dump of its tables.
"""

from __future__ import annotations

import getopt
import os
from collections.abc import Sequence

from bootsmith.errors import PublishError

OVERVIEW = """usage: doit [-n N] [--quiet | --json] [COMMAND | STEP | FILE]...

Build                                                               docs/quickstart.md
  doit                          build what is stale; the result becomes current
  doit build lock=fail          the same, but not if another run is at work
  doit usbkey:default           one step with all it needs; doit usbkey: all of a kind
  doit explain usbkey:default   why it would be done again; what reads a file
  doit why standin-virt nfs     what brought something into an initramfs, or would
  doit new template web         write a commented recipe to begin with
  doit key                      make the site's own key
  doit lock                     pin the newest packages of each stand-in
  doit reproduce                build again elsewhere and compare every byte
  doit graph                    draw the steps

Boot it here                                                        docs/smoke.md
  doit shell default            a template's key, in QEMU on this terminal; --netboot: no key
  doit smoke:key-uefi           boot and demand proof; doit smoke: all that the site proves
  doit proof                    the same, where no boot of these bytes is on record
  doit console key-uefi         what the console of a boot showed

Generations                                                         docs/generations.md
  doit release                  build, boot what is not proven, make it current
  doit promote                  make the newest generation current, if it passes its gate
  doit rollback                 what was current before is current again
  doit generations              all there are; doit report: one page about everything
  doit diff                     what is different between two
  doit verify                   read every byte, name what is wrong
  doit pin ID                   keep one; doit unpin ID
  doit prune --dry-run          remove old ones

Machines                                                            docs/inventory.md
  doit hosts                    which machine boots what
  doit explain-host web1        which line of which recipe says so
  doit new host web1            write a machine down: --template, --mac, --address
  doit mac new default          the next free MAC address
  doit publish                  deliver to the machines that serve it
  doit arm web1                 let it boot its installer; doit armed, doit disarm web1

Of doit itself
  doit list --all               every step and command
  doit clean usbkey:default     remove what a step has made
  doit --version                which bootsmith this is, and which doit
  doit forget, ignore, reset-dep, dumpdb: without effect, since files alone decide here

  -n N       do up to N steps at once
  --quiet    say what failed and nothing else
  --json     one object a line, for programs

doit help COMMAND says more, with examples. A tour: docs/tour.md; what a message means:
docs/troubleshooting.md"""

# `doit list` and the like. Those of doit's plug-ins are nobody's here.
DOIT_COMMANDS = frozenset(
    "clean dumpdb forget help ignore info list reset-dep strace tabcompletion".split()
)
HELP = ("-h", "--help")
_IDLE = ("forget", "ignore", "reset-dep", "dumpdb")
_OPTIONS_OF = {
    "list": ("--all", "-q", "--quiet"),
    "clean": ("-n", "--dry-run", "-a", "--clean-all"),
}
_WITHOUT_EFFECT = "without effect here: what is stale is decided by files alone"
_HELP_ABOUT = {
    "list": """usage: doit list [--all] [STEP...]

commands and kinds of steps; --all: every step; -q: names only

examples:
  doit list --all
  doit list --all usbkey        # the steps of one kind""",
    "clean": """usage: doit clean [-n] [--clean-all] [STEP...]

remove what these steps have made below artifacts/build; generations and locks stay

  -n            show what would be removed
  --clean-all   everything that can be built again

examples:
  doit clean usbkey:default     # the next build makes it again""",
    "info": """usage: doit info STEP...

the same as doit explain: what a step reads, and why it would be done again""",
    **{name: f"doit {name}: {_WITHOUT_EFFECT}" for name in _IDLE},
}
# What `doit run` takes before the first name, as getopt(3) writes it down.
_SHORT = "acd:f:hkn:o:P:r:sv:"
_LONG = (
    "always-execute auto-delayed-regex backend= check_file_uptodate= codec= continue db-file= dir= "
    "failure-verbosity= file= help output-file= parallel-type= pdb process= reporter= seek-file "
    "single verbosity= version"
).split()
_ELSEWHERE = frozenset(("-d", "--dir", "-f", "--file", "-k", "--seek-file"))


def seen_to(words: Sequence[str], *, is_site: bool) -> str | list[str]:
    """The overview, or the words that doit shall see; PublishError for what leads nowhere.

    `words` stand behind the program's name; `is_site` says whether there is a dodo.py here.
    """
    said = [word for word in words if word[:1] == "-" or "=" not in word]
    if said == ["--version"]:
        return _versions()
    if said[:1] == ["help"]:
        return _overview() if said[1:] in ([], ["run"], ["help"]) else _help_about(said[1])
    if said[:1] and said[0] in DOIT_COMMANDS:
        return _command_of_doit(said, words, is_site)
    start = 1 if said[:1] == ["run"] else 0
    try:
        options, names = getopt.getopt(said[start:], _SHORT, _LONG)
    except getopt.GetoptError as error:
        raise PublishError("doit", error.msg, hint="doit help shows the options") from None
    for option, value in options:
        if option in HELP:
            return _help_about(names[0]) if names else _overview()
        if option in ("-n", "--process") and not value.isdecimal():
            raise PublishError(
                f"doit {option}",
                "bad value",
                expected="how many steps to do at once",
                got=value,
                hint="doit -n 2 build",
            )
    return _of_a_site(list(words), is_site or bool(_ELSEWHERE & {name for name, _ in options}))


def _overview() -> str:
    """A site of one's own has no docs/: they are those of the checkout that it uses."""
    if os.path.exists("docs/tour.md"):
        return OVERVIEW
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return f"{OVERVIEW}\ndocs/ is below {checkout}"


def _command_of_doit(said: list[str], words: Sequence[str], is_site: bool) -> str | list[str]:
    name = said[0]
    if set(HELP) & {*said}:
        return _help_about(name)
    if name == "info":  # doit knows neither our inputs nor what is stale
        return _of_a_site(["explain", *words[1:]], is_site)
    if name in _IDLE:
        return _HELP_ABOUT[name]
    if name == "list" and {"-s", "--status"} & {*said}:
        raise PublishError(
            "doit list", "does not know what is stale", hint="doit explain shows what would be done"
        )
    _check_options(name, said[1:])
    if name == "clean" and not {"-a", "--clean-all"} & {*said} and len(said) == 1:
        raise PublishError(
            "doit clean",
            "what of?",
            expected="steps, or --clean-all",
            hint="doit clean usbkey:default; doit clean --clean-all",
        )
    return _of_a_site(list(words), is_site)


def _check_options(name: str, words: Sequence[str]) -> None:
    """doit's own answer to one that it does not know is a dump of its tables."""
    known = _OPTIONS_OF.get(name)
    wrong = [word for word in words if word[:1] == "-" and known and word not in known]
    if wrong:
        raise PublishError(
            f"doit {name}", f"{wrong[0]} is no option of it", hint=f"doit {name} --help"
        )


def _versions() -> str:
    import platform
    from importlib.metadata import version  # slow, and for this answer only

    python = platform.python_version()
    return f"bootsmith {version('bootsmith')} (doit {version('doit')}, Python {python})"


def _help_about(name: str) -> str | list[str]:
    """Few of doit's commands need doit's own pages; steps and verbs answer for themselves."""
    if name in _HELP_ABOUT:
        return _HELP_ABOUT[name]
    return ["help", name] if name in DOIT_COMMANDS else [name, "--help"]


def _of_a_site(words: list[str], is_site: bool) -> list[str]:
    if not is_site and words != ["--version"]:
        raise PublishError(
            "doit",
            "there is no site in this directory",
            expected="a file dodo.py",
            hint="go to one, or begin one: bootsmith init DIR",
        )
    return words
