"""Every verb there is beside the steps. A new one is one entry here."""

from __future__ import annotations

from collections.abc import Sequence

from bootsmith.graph.arming_verbs import plan_arming_verbs
from bootsmith.graph.inventory_verbs import plan_inventory_verbs
from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_generation import netboot_sources
from bootsmith.graph.publish_verb import plan_publish_verb
from bootsmith.graph.step import Step, unwrapped
from bootsmith.graph.verb import Option, Verb
from bootsmith.site.models import Site

# Says in words which generation is current, and served by targets; for the line that closes a run.
STANDING = "bootsmith.generations.standing:describe_standing"

_JSON = Option(name="json", about="for programs, as JSON", default=False, parameter="as_json")


def plan_verbs(layout: Layout, site: Site | None = None) -> tuple[Verb, ...]:
    """Verbs that work without the recipes: a broken site can still be rolled back."""
    return (
        _rollback(layout, site),
        _generations(layout),
        _pin(layout),
        _unpin(layout),
        _diff(layout),
        _verify(layout, site),
        _prune(layout, site.generation.keep if site else None),
        _key(layout),
        *plan_arming_verbs(site, layout),
    )


def plan_site_verbs(site: Site, layout: Layout, steps: Sequence[Step]) -> tuple[Verb, ...]:
    """Verbs that need to know what the site says."""
    return (
        _why(steps),
        _reproduce(layout, steps),
        _graph(layout, steps),
        _report(site, layout, steps),
        _new(site),
        _shell(site, layout),
        _console(layout),
        plan_publish_verb(site, layout),
        *plan_inventory_verbs(site),
    )


def _rollback(layout: Layout, site: Site | None) -> Verb:
    # Not under the lock of runs: whoever rolls back does not wait for a build.
    return Verb(
        name="rollback",
        summary="make the generation that was current before current again",
        call="bootsmith.generations.rollback:roll_back",
        arguments={
            "artifacts": layout.artifacts,
            "targets": tuple(site.publish) if site else None,
        },
        options=(
            Option(
                name="to",
                about="the generation to go to, older or newer",
                placeholder="ID",
                completes="generation",
            ),
        ),
        operands="[ID]",
        completes="generation",
        examples=(
            "doit rollback                      # to the one that was current before",
            "doit rollback                      # again: to the one before that",
            "doit rollback --to 2026-11-20.1    # to that one; also forward again",
        ),
    )


def _generations(layout: Layout) -> Verb:
    return Verb(
        name="generations",
        summary="show every generation: age, size, what is new, gate, marks",
        call="bootsmith.generations.listing:list_generations",
        arguments={"artifacts": layout.artifacts},
        options=(_JSON,),
        examples=(
            "doit generations           # a table, oldest first",
            "doit generations --json    # sizes in bytes, times in seconds since 1970",
        ),
    )


def _pin(layout: Layout) -> Verb:
    return Verb(
        name="pin",
        summary="keep generations: doit prune never removes them",
        call="bootsmith.generations.pins:pin_generations",
        arguments={"artifacts": layout.artifacts},
        options=(Option(name="note", about="why, for the table", default="", placeholder="TEXT"),),
        operands="ID...",
        completes="generation",
        examples=(
            'doit pin 2026-11-20.1 --note "before the move"',
            "doit pin current           # current, candidate and latest are words for ids",
        ),
    )


def _unpin(layout: Layout) -> Verb:
    return Verb(
        name="unpin",
        summary="let pinned generations be pruned again",
        call="bootsmith.generations.pins:unpin_generations",
        arguments={"artifacts": layout.artifacts},
        operands="ID...",
        completes="generation",
        examples=("doit unpin 2026-11-20.1",),
    )


def _diff(layout: Layout) -> Verb:
    return Verb(
        name="diff",
        summary="show what is different between two generations",
        call="bootsmith.generations.diff:diff_generations",
        arguments={"artifacts": layout.artifacts},
        options=(_JSON,),
        operands="[A [B]]",
        completes="generation",
        examples=(
            "doit diff                              # current and candidate, or the two newest",
            "doit diff 2026-11-20.1                 # current and that one",
            "doit diff 2026-11-20.1 latest --json   # all there is to say, for programs",
        ),
    )


def _verify(layout: Layout, site: Site | None) -> Verb:
    return Verb(
        name="verify",
        summary="read every byte of generations and name what is wrong",
        call="bootsmith.generations.inspection:verify_generations",
        arguments={
            "artifacts": layout.artifacts,
            "store": layout.artifacts / "store",
            "build": layout.build,
            "netboot": unwrapped(netboot_sources(site, layout)) if site else None,
        },
        options=(
            Option(
                name="all",
                about="every generation and the whole store",
                default=False,
                parameter="everything",
            ),
            Option(name="repair", about="put back what a good copy is left of", default=False),
        ),
        operands="[ID...]",
        completes="generation",
        examples=(
            "doit verify              # current and candidate",
            "doit verify --all        # everything there is",
            "doit verify --repair     # mend what can be mended without a guess",
        ),
        changes_if="repair",
    )


def _prune(layout: Layout, keep: int | None) -> Verb:
    return Verb(
        name="prune",
        summary="remove old generations and what only they hold",
        call="bootsmith.generations.prune:prune_generations",
        arguments={
            "artifacts": layout.artifacts,
            "store": layout.artifacts / "store",
            "evidence": layout.evidence,
            "default_keep": keep,
        },
        options=(
            Option(
                name="keep",
                about="how many of the newest to keep (default: keep in site.toml)",
                whole_number=True,
                placeholder="N",
            ),
            Option(name="dry-run", about="only say what would go", default=False),
        ),
        examples=(
            "doit prune --dry-run    # what would go, and how much that frees",
            "doit prune --keep 3     # never current, candidate, pinned, or where rollback goes",
        ),
        changes=True,
    )


def _key(layout: Layout) -> Verb:
    return Verb(
        name="key",
        summary="make the site's own key, once: modloops can be signed with it",
        call="bootsmith.builders.site_key:make_key",
        arguments={"directory": layout.keys},
        options=(
            Option(
                name="name",
                about="name of the key (default: site)",
                default="site",
                placeholder="NAME",
            ),
            Option(
                name="bits",
                about="its length (default: 4096)",
                whole_number=True,
                placeholder="N",
            ),
        ),
        examples=(
            "doit key                        # recipes/keys/site.rsa and site.rsa.pub",
            "doit key --name fleet-2027      # another one, to change over to",
        ),
    )


def _why(steps: Sequence[Step]) -> Verb:
    named = {
        "pxerd": "output",
        "report": "report",
        "modloop": "modloop",
        "iso": "iso",
        "facts": "facts",
        "cache": "cache",
    }
    return Verb(
        name="why",
        summary="say what brought something into a pxerd, or keeps it out",
        call="bootsmith.builders.pxerd_why:explain_pxerd",
        arguments={
            "pxerds": {
                step.name: {
                    **{key: step.arguments[argument].path for key, argument in named.items()},
                    "feature_directories": tuple(
                        tree.path for tree in step.arguments["feature_directories"]
                    ),
                }
                for step in steps
                if step.kind == "pxerd" and step.name is not None
            }
        },
        operands="SET [NAME...]",
        completes="set",
        examples=(
            "doit why standin-virt                       # what each feature costs",
            "doit why standin-virt nfsv4 virtio_net      # modules: features, lines, chains",
            "doit why standin-lts rtl8168h-2.fw          # firmware: which module names it",
            "doit why standin-lts /usr/sbin/nbd-client   # a file, a library, a package",
        ),
    )


def _reproduce(layout: Layout, steps: Sequence[Step]) -> Verb:
    return Verb(
        name="reproduce",
        summary="build the site under differing conditions and compare every byte",
        call="bootsmith.reproduce.run:reproduce",
        arguments={"root": layout.root, "artifacts": layout.artifacts, "steps": steps},
        options=(
            Option(name="quick", about="two builds; no third on warm caches", default=False),
            Option(name="keep", about="leave the built trees there", default=False),
            Option(name="scratch", about="build below this directory (default: artifacts)"),
        ),
        operands="[STEP...]",
        completes="step",
        examples=(
            "doit reproduce                        # the whole site",
            "doit reproduce pxerd:standin-virt     # one step and what leads to it",
            "doit reproduce --scratch /var/tmp     # on another disk",
        ),
        # It reads downloads, and a run that began meanwhile would clear away what looks
        # unfinished below artifacts.
        changes=True,
    )


def _graph(layout: Layout, steps: Sequence[Step]) -> Verb:
    return Verb(
        name="graph",
        summary="draw the steps: what leads to what, and what would be done again",
        call="bootsmith.pages.step_graph:draw_graph",
        arguments={"root": layout.root, "steps": steps},
        options=(
            Option(
                name="output",
                about="the picture (default: artifacts/report/graph.svg)",
                placeholder="FILE",
            ),
            Option(name="dot", about="print it in Graphviz' language instead", default=False),
        ),
        operands="[STEP...]",
        completes="step",
        examples=(
            "doit graph                          # what doit build does",
            "doit graph usbkey:default           # what leads to one step",
            "doit graph --output /tmp/site.svg   # elsewhere",
        ),
    )


def _new(site: Site) -> Verb:
    return Verb(
        name="new",
        summary="write a commented recipe to begin with, which builds at once",
        call="bootsmith.drafts.new:write_new",
        arguments={"site": site},
        options=(
            Option(name="iso", about="the ISO of a new release", placeholder="FILE"),
            Option(
                name="release",
                about="the release of a new template (default: site.toml's)",
                placeholder="NAME",
                completes="release",
            ),
            Option(
                name="flavor",
                about="the flavor of a new template (default: site.toml's)",
                placeholder="NAME",
            ),
            Option(
                name="template",
                about="what a new host boots",
                placeholder="NAME",
                completes="template",
            ),
            Option(
                name="mac",
                about="its MAC address (default: the next free one of the template)",
                placeholder="MAC",
            ),
            Option(
                name="level",
                about="of that MAC address, where the convention has several",
                placeholder="LEVEL",
            ),
            Option(
                name="address",
                about="its fixed address (default: one of the pool)",
                placeholder="ADDRESS",
            ),
        ),
        operands="template NAME | release [NAME] | host NAME",
        completes="draft",
        examples=(
            "doit new template web --flavor virt                         # and overlays/web/",
            "doit new release --iso ~/alpine-standard-3.20.3-x86_64.iso  # named by what is in it",
            "doit new host web-1 --template web --mac 52:54:00:10:00:02  # into recipes/hosts.toml",
        ),
        # Only hosts have a template: hosts.toml is read, changed and written.
        changes_if="template",
    )


def _report(site: Site, layout: Layout, steps: Sequence[Step]) -> Verb:
    return Verb(
        name="report",
        summary="write one page: generations, changes, boots with their screens, the graph",
        call="bootsmith.pages.report:write_report",
        arguments={
            "name": site.name,
            "root": layout.root,
            "artifacts": layout.artifacts,
            "steps": steps,
        },
        options=(
            Option(
                name="output",
                about="the page (default: artifacts/report/index.html)",
                placeholder="FILE",
            ),
        ),
        examples=(
            "doit report                             # then open it: it asks no network",
            "doit report --output /srv/www/fleet.html",
        ),
    )


def _shell(site: Site, layout: Layout) -> Verb:
    return Verb(
        name="shell",
        summary="boot a template in QEMU on this terminal (leave with Ctrl-A X)",
        call="bootsmith.smoke.shell:open_shell",
        arguments={
            "templates": tuple(site.templates),
            "artifacts": layout.artifacts,
            "memory_mebibytes": site.smoke.memory_mebibytes,
            "accelerator": site.smoke.accel,
            "network": site.netboot.network_values if site.netboot else None,
        },
        options=(
            Option(name="uefi", about="with UEFI firmware instead of a BIOS", default=False),
            Option(
                name="netboot",
                about="from the network, as a host or a machine of the template; as root",
                default=False,
            ),
            Option(
                name="memory",
                about="of the machine, in MiB (default: [smoke] in site.toml)",
                whole_number=True,
                placeholder="N",
            ),
        ),
        operands="TEMPLATE|HOST",
        completes="template",
        examples=(
            "doit shell default             # its key; log in as root, the key stays as it is",
            "doit shell lxc-repo --uefi     # as on a machine without a BIOS",
            "doit shell --netboot repo-1    # from the network, with servers of its own",
        ),
    )


def _console(layout: Layout) -> Verb:
    return Verb(
        name="console",
        summary="show what the console of a boot showed",
        call="bootsmith.smoke.shell:show_console",
        arguments={"evidence": layout.evidence},
        options=(Option(name="raw", about="with its escape codes", default=False),),
        operands="SCENARIO",
        completes="scenario",
        examples=("doit console key-uefi    # of its newest run, with where the log is",),
    )
