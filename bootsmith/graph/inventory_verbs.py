"""Verbs over the inventory: which machine is what, and MAC addresses for new ones."""

from __future__ import annotations

from bootsmith.graph.verb import Option, Verb
from bootsmith.site.models import Site


def plan_inventory_verbs(site: Site) -> tuple[Verb, ...]:
    """They read recipes/hosts.toml as it is, built or not."""
    return (_hosts(site), _explain_host(site), _mac(site))


def _hosts(site: Site) -> Verb:
    return Verb(
        name="hosts",
        summary="show every host and MAC prefix of the inventory, and what it boots",
        call="bootsmith.site.inventory_listing:list_hosts",
        arguments={"site": site},
        options=(
            Option(
                name="template",
                about="only those of this template",
                placeholder="NAME",
                completes="template",
            ),
            Option(
                name="json",
                about="for programs, as JSON, with all values",
                default=False,
                parameter="as_json",
            ),
        ),
        examples=(
            "doit hosts                        # a table, by name",
            "doit hosts --template lxc-repo    # those of one template",
            "doit hosts --json                 # all that is known of each",
        ),
    )


def _explain_host(site: Site) -> Verb:
    return Verb(
        name="explain-host",
        summary="say what a machine is, and which line of which recipe says so",
        call="bootsmith.site.inventory_explain:explain_host",
        arguments={"site": site},
        operands="NAME|MAC|ADDRESS [KEY]",
        completes="host",
        examples=(
            "doit explain-host repo-1                # every value",
            "doit explain-host repo-1 options        # one, with all levels that say it",
            "doit explain-host 52:54:00:12:34:56     # also a machine that nobody wrote down",
        ),
    )


def _mac(site: Site) -> Verb:
    return Verb(
        name="mac",
        summary="give the next free MAC address by the site's convention",
        call="bootsmith.drafts.mac_address:make_mac",
        arguments={"site": site},
        options=(
            Option(
                name="level",
                about="the level, where the convention has several",
                placeholder="LEVEL",
            ),
            Option(
                name="add",
                about="also write a host of this name into recipes/hosts.toml",
                placeholder="NAME",
            ),
        ),
        operands="new TEMPLATE",
        completes="mac",
        examples=(
            "doit mac new lxc-repo --level service                # print it",
            "doit mac new lxc-repo --level service --add repo-3   # and make it a host",
        ),
        changes_if="add",
    )
