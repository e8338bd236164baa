"""The verbs over what a head node serves: which machines boot an installer."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.verb import Option, Verb
from bootsmith.site.models import Site

_ROOT = Option(
    name="root",
    about="a directory that is served, or a target of [publish] (default: root of [netboot])",
    placeholder="PLACE",
)
_JSON = Option(name="json", about="for programs, as JSON", default=False, parameter="as_json")


def plan_arming_verbs(site: Site | None, layout: Layout) -> tuple[Verb, ...]:
    """`--root` finds the place even if the recipes are broken."""
    power = site.netboot.power if site and site.netboot else None
    arguments = {
        "roots": {
            "artifacts": str(layout.artifacts),
            "usual": site.netboot.root if site and site.netboot else None,
            "targets": {
                name: {
                    "directory": str(site.root / one.directory) if one.directory else None,
                    "ssh": one.ssh,
                    "port": one.port,
                    "identity": one.identity,
                    "known_hosts": one.known_hosts,
                }
                for name, one in (site.publish if site else {}).items()
                if site
            },
        }
    }
    return (
        Verb(
            name="arm",
            summary="let machines boot an installer until it is done",
            call="bootsmith.netboot.arming:arm_machines",
            arguments={
                **arguments,
                "power_command": tuple(power.split()) if power else (),
            },
            options=(
                Option(
                    name="install",
                    about="the installer (default: `install` of the host)",
                    placeholder="NAME",
                ),
                Option(
                    name="power",
                    about="power cycle them then, by `power` of [netboot]",
                    default=False,
                ),
                _ROOT,
            ),
            operands="HOST...",
            completes="host",
            examples=(
                "doit arm web1 web2                       # by name; all of them or none",
                "doit arm 52:54:01:02:00:07 10.20.0.9     # by MAC or address",
                "doit arm web1 --install debian           # another installer than the host's",
                "doit arm web1 --power                    # and start it anew",
                "doit arm web1 --root rack-2              # on a target of [publish]",
            ),
        ),
        Verb(
            name="disarm",
            summary="let machines boot as their role says again",
            call="bootsmith.netboot.arming:disarm_machines",
            arguments=arguments,
            options=(
                Option(
                    name="all",
                    about="every machine that is armed",
                    default=False,
                    parameter="everything",
                ),
                _ROOT,
            ),
            operands="[HOST...]",
            completes="host",
            examples=("doit disarm web1", "doit disarm --all"),
        ),
        Verb(
            name="armed",
            summary="show the machines that are armed, and for what",
            call="bootsmith.netboot.arming:list_armed",
            arguments=arguments,
            options=(_ROOT, _JSON),
            examples=("doit armed", "doit armed --json    # for programs"),
        ),
    )
