"""Hosts with overlays or values of their own get an archive each; unchanged ones keep theirs."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from bootsmith.builders.apkovl import build_apkovl
from bootsmith.builders.hostovl import build_host_overlays
from bootsmith.errors import BuildError, RecipeError
from bootsmith.files.state import State
from bootsmith.formats.host_overlays import read_host_overlays
from bootsmith.formats.inventory import Host, Inventory, Role, write_inventory

WEB_1 = Host(name="web-1", mac="52:54:01:02:00:01", template="web", overlays=("rack",))
WEB_2 = Host(name="web-2", mac="52:54:01:02:00:02", template="web", values={"RACK": "b 2"})
PLAIN = Host(name="web-3", mac="52:54:01:02:00:03", template="web")


class Site:
    """Overlay trees, a template, and what the step makes of the hosts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.build = root / "artifacts/build"
        self.manifest = self.build / "hostovl/manifest.jsonl"
        self.files = self.build / "hostovl/files"
        self.record = root / "artifacts/cache/hostovl.json"
        self.said: list[str] = []
        self.maker = "the code as it is"
        self.recipe = {
            "overlays": ("base",),
            "packages": ("nginx",),
            "runlevels": {"default": ("nginx",)},
            "default_boot_services": True,
            "service": None,
        }
        self.put("base/etc/motd", "welcome\n")
        self.put("rack/etc/rack", "the first rack\n")
        self.put("room/etc/room", "the first room\n")

    def put(self, name: str, content: str) -> Path:
        path = self.root / "overlays" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def overlays(self) -> dict[str, dict[str, Path | None]]:
        trees = [path for path in (self.root / "overlays").iterdir() if path.is_dir()]
        owners = {tree.name: tree.with_name(f"{tree.name}.owners") for tree in trees}
        return {
            tree.name: {
                "tree": tree,
                "owners": path if (path := owners[tree.name]).exists() else None,
            }
            for tree in trees
        }

    def pack(self, *hosts: Host) -> list[str]:
        """The names of hosts that were packed anew."""
        inventory = self.build / "inventory/inventory.jsonl"
        inventory.parent.mkdir(parents=True, exist_ok=True)
        inventory.write_bytes(
            write_inventory(Inventory(unknown=Role(template="web"), hosts=tuple(hosts)))
        )
        packed: list[str] = []
        memory = State(self.root / "state.sqlite3")
        try:
            build_host_overlays(
                inventory=inventory,
                templates={"web": self.recipe, "db": {**self.recipe, "packages": ("sqlite",)}},
                overlays=self.overlays(),
                build=self.build,
                record=self.record,
                output=self.manifest,
                memory=memory,
                maker=self.maker,
                progress=lambda message, done, total: packed.append(message.split()[-1]),
            )
        finally:
            memory.close()
        return packed

    def listed(self):
        return read_host_overlays(self.manifest.read_bytes(), subject=self.manifest)

    def content(self, host: str, name: str) -> bytes:
        with tarfile.open(self.files / f"{host}.apkovl.tar.gz") as tar:
            return tar.extractfile(name).read()

    def names(self, host: str) -> list[str]:
        with tarfile.open(self.files / f"{host}.apkovl.tar.gz") as tar:
            return tar.getnames()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_a_host_gets_its_templates_overlay_and_its_own(site):
    assert site.pack(WEB_1, WEB_2, PLAIN) == ["web-2", "web-1"]
    assert sorted(os.listdir(site.files)) == ["web-1.apkovl.tar.gz", "web-2.apkovl.tar.gz"]
    assert site.content("web-1", "etc/hostname") == b"web-1\n"
    assert site.content("web-1", "etc/motd") == b"welcome\n"
    assert site.content("web-1", "etc/rack") == b"the first rack\n"
    assert site.content("web-1", "etc/bootsmith/template") == b"web\n"
    assert site.content("web-1", "etc/apk/world") == b"alpine-base\nnginx\n"
    assert "etc/bootsmith/values" not in site.names("web-1")
    assert "etc/rack" not in site.names("web-2")


def test_the_manifest_says_what_there_is(site):
    site.pack(WEB_1, WEB_2, PLAIN)
    listed = site.listed()
    assert sorted(listed) == ["web-1", "web-2"]
    one = listed["web-1"]
    assert (one.mac, one.template, one.file) == (
        "52:54:01:02:00:01",
        "web",
        "hostovl/files/web-1.apkovl.tar.gz",
    )
    found = subprocess.run(
        ["sha256sum", site.build / one.file], capture_output=True, text=True, check=True
    )
    assert found.stdout.split()[0] == one.sha256
    assert (site.build / one.file).stat().st_size == one.size_bytes
    assert site.content("web-1", "etc/bootsmith/overlay").decode() == f"{one.overlay_sha256}\n"


def test_an_archive_is_that_of_a_template_of_the_same_stack_and_name(site):
    site.pack(WEB_1)
    build_apkovl(
        overlays=[site.root / "overlays/base", site.root / "overlays/rack"],
        owners=[None, None],
        template="web",
        hostname="web-1",
        packages=("nginx",),
        runlevels={"default": ("nginx",)},
        default_boot_services=True,
        output=site.root / "web.apkovl.tar.gz",
        contents=site.root / "contents.json",
    )
    packed = site.files / "web-1.apkovl.tar.gz"
    assert packed.read_bytes() == (site.root / "web.apkovl.tar.gz").read_bytes()


HARD = 'it\'s "$HOME" `id` \\ ü # * ;'


def test_values_are_words_that_a_shell_reads_back(site):
    host = Host(
        name="web-2", mac="52:54:01:02:00:02", template="web", values={"B": "x", "A_1": HARD}
    )
    site.pack(host)
    text = site.content("web-2", "etc/bootsmith/values").decode()
    assert text == "A_1='it'\\''s \"$HOME\" `id` \\ ü # * ;'\nB='x'\n"
    said = subprocess.run(
        ["sh", "-c", f'{text}printf "%s|%s" "$A_1" "$B"'], capture_output=True, check=True
    )
    assert said.stdout.decode() == f"{HARD}|x"


def test_what_has_not_changed_is_not_packed_again(site):
    site.pack(WEB_1, WEB_2)
    before = {path.name: path.stat() for path in site.files.iterdir()}
    manifest = site.manifest.read_bytes()
    assert site.pack(WEB_1, WEB_2) == []
    assert site.manifest.read_bytes() == manifest
    changed = Host(name="web-2", mac=WEB_2.mac, template="web", values={"RACK": "c"})
    assert site.pack(WEB_1, changed) == ["web-2"]
    after = {path.name: path.stat() for path in site.files.iterdir()}
    assert before["web-1.apkovl.tar.gz"] == after["web-1.apkovl.tar.gz"]
    assert before["web-2.apkovl.tar.gz"].st_ino != after["web-2.apkovl.tar.gz"].st_ino
    assert site.content("web-2", "etc/bootsmith/values") == b"RACK='c'\n"


def test_another_network_card_needs_no_new_archive(site):
    site.pack(WEB_1)
    moved = Host(name="web-1", mac="52:54:01:02:00:99", template="web", overlays=("rack",))
    assert site.pack(moved) == []
    assert site.listed()["web-1"].mac == "52:54:01:02:00:99"


def test_each_thing_that_goes_in_decides(site):
    def packed_after(change):
        site.pack(WEB_1, WEB_2)
        change()
        return sorted(site.pack(WEB_1, WEB_2))

    both, rack_only = ["web-1", "web-2"], ["web-1"]
    assert packed_after(lambda: site.put("rack/etc/rack", "another\n")) == rack_only
    assert packed_after(lambda: site.put("rack/etc/more", "")) == rack_only
    assert packed_after((site.root / "overlays/rack/etc/more").unlink) == rack_only
    assert packed_after(lambda: site.put("rack/etc/rack", "x").chmod(0o755)) == rack_only
    assert packed_after(lambda: site.put("rack.owners", "0600 root:root etc/rack\n")) == rack_only
    assert packed_after(lambda: site.put("base/etc/motd", "bye\n")) == both
    assert packed_after(lambda: site.put("room/etc/room", "nobody takes me\n")) == []
    assert packed_after(lambda: site.recipe.update(packages=("nginx", "git"))) == both
    assert packed_after(lambda: site.recipe.update(runlevels={"boot": ("nginx",)})) == both
    assert packed_after(lambda: site.recipe.update(default_boot_services=False)) == both
    assert packed_after(lambda: setattr(site, "maker", "other code")) == both


def test_a_host_of_another_template_or_name_is_packed_anew(site):
    site.pack(WEB_1)
    assert site.pack(Host(name="web-1", mac=WEB_1.mac, template="db", overlays=("rack",))) == [
        "web-1"
    ]
    assert site.content("web-1", "etc/apk/world") == b"alpine-base\nsqlite\n"
    assert site.pack(Host(name="db-1", mac=WEB_1.mac, template="db", overlays=("rack",))) == [
        "db-1"
    ]
    assert os.listdir(site.files) == ["db-1.apkovl.tar.gz"]


def test_files_of_hosts_that_are_gone_go(site):
    site.pack(WEB_1, WEB_2)
    (site.files / ".web-9.apkovl.tar.gz.0123456789ab.partial").write_bytes(b"of a killed run")
    assert site.pack(WEB_2, PLAIN) == []
    assert os.listdir(site.files) == ["web-2.apkovl.tar.gz"]
    assert sorted(site.listed()) == ["web-2"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"rotten"),
        lambda path: os.truncate(path, 5),
        lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    ],
)
def test_a_lost_or_damaged_archive_is_packed_anew(site, damage):
    site.pack(WEB_1, WEB_2)
    path = site.files / "web-1.apkovl.tar.gz"
    whole = path.read_bytes()
    damage(path)
    assert site.pack(WEB_1, WEB_2) == ["web-1"]
    assert path.read_bytes() == whole
    assert not path.is_symlink()


def test_a_checkout_by_somebody_else_leaves_the_manifest(site):
    site.pack(WEB_1)
    manifest = site.manifest.read_bytes()
    (site.root / "overlays/rack/etc/rack").chmod(0o600)
    assert site.pack(WEB_1) == ["web-1"]
    assert site.manifest.read_bytes() == manifest


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"web-1": 7}', b'{"web-1": ["x", "y"]}'])
def test_a_lost_record_costs_a_run_and_nothing_else(site, content):
    site.pack(WEB_1, WEB_2)
    manifest = site.manifest.read_bytes()
    if content is None:
        site.record.unlink()
    else:
        site.record.write_bytes(content)
    assert site.pack(WEB_1, WEB_2) == ["web-2", "web-1"]
    assert site.manifest.read_bytes() == manifest
    assert site.pack(WEB_1, WEB_2) == []


def test_what_was_brought_back_is_not_taken_for_what_is_on_record(site):
    site.pack(WEB_2)
    kept = {path: path.read_bytes() for path in [site.manifest, *site.files.iterdir()]}
    changed = Host(name="web-2", mac=WEB_2.mac, template="web", values={"RACK": "c"})
    site.pack(changed)
    for path, content in kept.items():
        path.write_bytes(content)
    assert site.pack(changed) == ["web-2"]
    assert site.content("web-2", "etc/bootsmith/values") == b"RACK='c'\n"


def test_a_damaged_manifest_costs_a_run_and_nothing_else(site):
    site.pack(WEB_1, WEB_2)
    whole = site.manifest.read_bytes()
    site.manifest.write_bytes(whole[:-40])
    assert site.pack(WEB_1, WEB_2) == ["web-2", "web-1"]
    assert site.manifest.read_bytes() == whole


def test_one_host_that_cannot_be_packed_leaves_everything_as_it_was(site):
    site.pack(WEB_1, WEB_2)
    before = {path: path.read_bytes() for path in [site.manifest, *site.files.iterdir()]}
    site.put("bad/etc/hostname", "mine\n")
    bad = Host(name="web-4", mac="52:54:01:02:00:04", template="web", overlays=("bad",))
    other = Host(name="web-2", mac=WEB_2.mac, template="web", values={"RACK": "c"})
    with pytest.raises(RecipeError) as caught:
        site.pack(WEB_1, other, bad)
    assert str(caught.value) == (
        "host web-4: its overlay cannot be packed: etc/hostname: stands in an overlay, but is "
        "written from the template's recipe\n"
        "  next: remove the file, or say in the recipe what it says"
    )
    assert {path: path.read_bytes() for path in [site.manifest, *site.files.iterdir()]} == before


def test_what_is_a_file_in_one_tree_and_a_directory_in_another_is_refused(site):
    site.put("rack/etc/motd/today", "x")
    with pytest.raises(RecipeError) as caught:
        site.pack(WEB_1)
    assert str(caught.value) == (
        "host web-1: its overlay cannot be packed: overlays/rack/etc/motd: is a directory here "
        "and a file in a lower overlay\n"
        "  next: rename or remove one of the two"
    )


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A=B", "A;id", "A\n"])
def test_a_name_that_no_shell_takes_is_refused(site, name):
    host = Host(name="web-2", mac=WEB_2.mac, template="web", values={name: "x"})
    with pytest.raises(RecipeError) as caught:
        site.pack(host)
    assert str(caught.value) == (
        f"host web-2: {name!a} cannot be the name of a value; expected letters, digits and _, no "
        "digit first\n  next: rename it in recipes/hosts.toml"
    )
    assert not site.manifest.exists()


def test_an_overlay_or_template_that_is_gone_is_named(site):
    with pytest.raises(BuildError) as caught:
        site.pack(Host(name="a", mac=WEB_1.mac, template="web", overlays=("gone",)))
    assert str(caught.value) == (
        "overlay gone of host a: is named in the inventory, and there is none\n"
        "  next: build again: doit inventory"
    )
    with pytest.raises(BuildError) as caught:
        site.pack(Host(name="a", mac=WEB_1.mac, template="gone", overlays=("rack",)))
    assert str(caught.value).startswith("template gone: is named in the inventory")
