"""The mutation table of a site that boots from the network. See mutation_rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from mutation_rows import (
    Row,
    append,
    both,
    chmod,
    copy_over,
    edit,
    flip,
    link,
    only,
    program,
    remove,
    rename,
    touch,
    truncate,
    write,
)
from mutation_site import Original
from netboot_site import write_netboot_site

from bootsmith.graph import code

PUBLISHED = only("generation", "promote")
ALL = PUBLISHED | {
    *("iso:tiny", "flavor:tiny-virt", "medium:tiny", "pxerd:tiny-virt", "modloop:tiny-virt"),
    *("apkovl:web", "apkovl:db", "usbkey:web", "usbkey:db"),
    *("inventory", "hostovl", "netloader", "netboot", "netconf"),
}
ASKED = only("inventory")
"""Read again, and the same comes of it."""
HOSTS = only("inventory", "hostovl", "netboot", "netconf") | PUBLISHED
"""How far a changed host travels: all that reads the inventory."""
OWN = only("hostovl", "netboot") | PUBLISHED
"""How far a changed archive of a host travels."""
WEB = only("apkovl:web", "usbkey:web") | OWN
NOTHING: frozenset[str] = frozenset()
HOSTS_TOML, SITE_TOML = "recipes/hosts.toml", "recipes/site.toml"
WEB_TOML, DB_TOML = "recipes/templates/web.toml", "recipes/templates/db.toml"
LATEST = "artifacts/generations/latest"


def rows() -> list[Row]:
    return [
        *_host_rows(),
        *_site_rows(),
        *_template_rows(),
        *_overlay_rows(),
        *_target_rows(),
        *_published_rows(),
        *_machine_rows(),
    ]


def _host_rows() -> Iterator[Row]:
    def row(name, change, redone, fails=None):
        return Row(name=f"hosts: {name}", change=change, redone=redone, fails=fails)

    plain = '[host.plain]\nmac = "52:54:00:00:00:01"'
    more = '\n[host.more]\nmac = "52:54:00:00:00:09"\naddress = "10.20.1.9"\n'
    yield row("a comment", append(HOSTS_TOML, "# hello\n"), ASKED)
    yield row("touched", touch(HOSTS_TOML), NOTHING)
    yield row("copied over itself", copy_over(HOSTS_TOML), NOTHING)
    yield row("chmod", chmod(HOSTS_TOML, 0o600), ASKED)
    yield row("a default, said", edit(HOSTS_TOML, plain, f'{plain}\nmedia = "http"'), ASKED)
    yield row("a group that nobody is in", append(HOSTS_TOML, "[group.none]\n"), ASKED)
    yield row(
        "a file beside them that is not imported",
        write("recipes/hosts/x.csv", "name,mac\nx,52:54:00:00:00:77\n"),
        ASKED,
    )
    yield row("an option", edit(HOSTS_TOML, plain, f'{plain}\noptions = ["debug"]'), HOSTS)
    yield row("an address", edit(HOSTS_TOML, "10.20.1.1", "10.20.1.99"), HOSTS)
    management = f'{plain}\nmanagement = "10.20.2.1"'
    yield row("a management address", edit(HOSTS_TOML, plain, management), HOSTS)
    yield row("another network card", edit(HOSTS_TOML, "00:00:01", "00:00:77"), HOSTS)
    yield row("another template", edit(HOSTS_TOML, '"web"', '"db"'), HOSTS)
    yield row("a value", edit(HOSTS_TOML, 'rack = "7"', 'rack = "8"'), HOSTS)
    yield row("no values", edit(HOSTS_TOML, 'values = { rack = "7" }', ""), HOSTS)
    yield row("an overlay", edit(HOSTS_TOML, plain, f'{plain}\noverlays = ["base"]'), HOSTS)
    yield row("another name", edit(HOSTS_TOML, "[host.own]", "[host.mine]"), HOSTS)
    yield row("one more", append(HOSTS_TOML, more), HOSTS)
    yield row("one less", _without_last_host, HOSTS)
    yield row("a rule", edit(HOSTS_TOML, '"52:54:01:02"', '"52:54:01:03"'), HOSTS)
    yield row(
        "the same network card twice",
        append(HOSTS_TOML, more.replace("00:09", "00:01")),
        ASKED,
        fails="52:54:00:00:00:01",
    )


def _without_last_host(site) -> None:
    text = site.path(HOSTS_TOML).read_text()
    site.path(HOSTS_TOML).write_text(text[: text.rindex("[host.")])


def _site_rows() -> Iterator[Row]:
    def row(name, change, redone):
        return Row(name=f"netboot: {name}", change=change, redone=redone)

    # The inventory is checked against the network, all of it; the same comes of it.
    network = only("inventory", "netboot", "netconf") | PUBLISHED
    lease = edit(SITE_TOML, "[netboot]", "[netboot]\nlease_seconds = 600")
    module = edit(SITE_TOML, "[netboot]", '[netboot]\nmodules = ["menu"]')
    yield row("server", edit(SITE_TOML, '"10.20.0.1"', '"10.20.0.2"'), network)
    yield row("interface", edit(SITE_TOML, "boot0", "eth1"), network)
    yield row("lease", lease, network)
    yield row("a module more", module, only("netloader") | PUBLISHED)
    yield row("role of all", edit(SITE_TOML, "[netboot]", '[netboot]\nloader = "ipxe"'), HOSTS)
    yield row("template of unknown machines", edit(SITE_TOML, '= "web"', '= "db"'), HOSTS)
    yield row(
        "none any more",
        both(edit(SITE_TOML, "[netboot]", "[removed]"), _without_netboot),
        PUBLISHED,
    )


def _without_netboot(site) -> None:
    text = site.path(SITE_TOML).read_text()
    site.path(SITE_TOML).write_text(text[: text.index("[removed]")])
    edit(DB_TOML, '[netboot]\nmedia = "nfs"\n', "")(site)
    remove(HOSTS_TOML)(site)


def _template_rows() -> Iterator[Row]:
    def row(name, change, redone):
        return Row(name=f"template: {name}", change=change, redone=redone)

    summary = 'summary = "first"'
    boot = '[boot]\noptions = ["debug"]\n\n[usbkey]'
    yield row("packages", edit(WEB_TOML, summary, f'{summary}\npackages = ["nginx"]'), WEB)
    yield row(
        "hostname",
        edit(WEB_TOML, summary, f'{summary}\nhostname = "www"'),
        only("apkovl:web", "usbkey:web") | PUBLISHED,
    )
    yield row(
        "packages of one whose hosts have no archives",
        edit(DB_TOML, 'summary = "second"', 'summary = "second"\npackages = ["nginx"]'),
        only("apkovl:db", "usbkey:db", "hostovl") | PUBLISHED,
    )
    yield row(
        "options", edit(WEB_TOML, "[usbkey]", boot), only("usbkey:web", "netboot") | PUBLISHED
    )
    yield row(
        "its word in netboot",
        edit(DB_TOML, 'media = "nfs"', 'media = "http"'),
        HOSTS,
    )


def _overlay_rows() -> Iterator[Row]:
    def row(name, change, redone):
        return Row(name=f"overlay: {name}", change=change, redone=redone)

    motd = "overlays/base/etc/motd"
    base = WEB | {"apkovl:db", "usbkey:db"}
    yield row("a file edited", append(motd, "!"), base)
    yield row("a file edited, size and times kept", flip(motd), base)
    yield row("a file renamed", rename(motd, "overlays/base/etc/issue"), base)
    yield row("owners", write("overlays/base.owners", "0600 root:root etc/motd\n"), base)
    yield row("touched", touch(motd), NOTHING)
    # A host may take it: so it is asked who does, and what is in it.
    new = write("overlays/new/etc/x", "x")
    yield row("one that nobody takes", new, only("inventory", "hostovl"))


_TARGETS = {
    "inventory/inventory.jsonl": "inventory",
    "hostovl/manifest.jsonl": "hostovl",
    "netloader/index.jsonl": "netloader",
    "netloader/pxelinux.0": "netloader",
    "netboot/index.jsonl": "netboot",
    "netconf/index.jsonl": "netconf",
    "medium/tiny/digests.json": "medium:tiny",
}


def _target_rows() -> Iterator[Row]:
    """What a step made, damaged: that step alone is redone, for it makes the same again."""
    for target, label in _TARGETS.items():
        name = f"artifacts/build/{target}"
        for what, change in (
            ("removed", remove(name)),
            ("truncated", truncate(name)),
            ("edited, size and times kept", flip(name)),
            ("chmod", chmod(name, 0o600)),
        ):
            yield Row(name=f"target: {target} {what}", change=change, redone=only(label))
    archives = "artifacts/build/hostovl/files"
    yield Row(name="target: all archives removed", change=remove(archives), redone=only("hostovl"))
    made = HOSTS - PUBLISHED
    yield Row(
        name="target: everything of hosts removed",
        change=both(*(remove(f"artifacts/build/{kind}") for kind in sorted(made))),
        redone=made,
    )


def _published_rows() -> Iterator[Row]:
    def row(name, change, redone):
        return Row(name=f"published: {name}", change=change, redone=redone)

    current, promote = "artifacts/netboot/current", only("promote")
    yield row("the index removed", remove(f"{LATEST}/netboot/INDEX.jsonl"), PUBLISHED)
    yield row("the tree removed", remove(f"{LATEST}/netboot"), PUBLISHED)
    yield row("netboot/current removed", remove(current), promote)
    yield row("netboot/current led elsewhere", link(current, ".."), promote)
    yield row("the links of netboot removed", remove("artifacts/netboot"), promote)


def _machine_rows() -> Iterator[Row]:
    for name in (
        "/usr/lib/PXELINUX/pxelinux.0",
        "/usr/lib/ipxe/undionly.kpxe",
        "/usr/lib/syslinux/modules/bios",
        "grub-mkimage",
    ):
        yield Row(
            name=f"machine: another {name}", change=program(name, "2.0"), redone=only("netloader")
        )
    yield Row(
        name="machine: another Python",
        change=lambda site: setattr(site, "python", "3.12"),
        redone=ALL,
    )


ROWS = rows()


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("mutations")
    with pytest.MonkeyPatch.context() as patch:
        # Keys count the code of a copy, that nobody edits meanwhile.
        copy = directory / "bootsmith"
        shutil.copytree(code._PACKAGE_DIRECTORY, copy, ignore=shutil.ignore_patterns("__pycache__"))
        patch.setattr(code, "_PACKAGE_DIRECTORY", copy)
        (directory / "site").mkdir()
        site = write_netboot_site(directory / "site")
        assert site.run() == ALL
        yield Original(site, directory)


@pytest.fixture
def site(original):
    yield original.site
    original.restore()


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_exactly_what_must_be_redone_is(site, row):
    row.change(site)
    if row.fails is not None:
        assert row.fails in site.failure()
        return
    assert sorted(site.run()) == sorted(row.redone)
    assert site.run() == set()
