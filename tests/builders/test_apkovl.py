"""Overlay trees on disk become one apkovl, or one clear error."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import stat
import tarfile
from pathlib import Path

import pytest

from bootsmith.builders.apkovl import build_apkovl
from bootsmith.errors import RecipeError


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """overlays/base and overlays/web, and room for outputs."""
    for name in ("base", "web"):
        (tmp_path / "overlays" / name / "etc").mkdir(parents=True)
    return tmp_path


def put(site: Path, name: str, content: bytes = b"x\n", mode: int = 0o644) -> Path:
    path = site / "overlays" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


def build(site: Path, *, stack: tuple[str, ...] = ("base", "web"), **changes: object) -> Path:
    overlays = [site / "overlays" / name for name in stack]
    owners = [tree.with_name(f"{tree.name}.owners") for tree in overlays]
    arguments = {
        "overlays": overlays,
        "owners": [path if path.exists() else None for path in owners],
        "template": "web",
        "hostname": "web1",
        "packages": ("nginx", "dropbear"),
        "runlevels": {"default": ("local", "nginx")},
        "default_boot_services": True,
        "output": site / "out/web.apkovl.tar.gz",
        "contents": site / "out/contents.json",
    }
    build_apkovl(**(arguments | changes))
    return arguments["output"]


def members_of(packed: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(packed) as tar:
        return {member.name: member for member in tar}


def content_of(packed: Path, name: str) -> bytes:
    with tarfile.open(packed) as tar:
        return tar.extractfile(name).read()


def message_of(site: Path, **changes: object) -> str:
    with pytest.raises(RecipeError) as caught:
        build(site, **changes)
    assert not (site / "out").exists()
    return str(caught.value)


# -- what is packed --------------------------------------------------------------------


def test_the_recipe_is_in_the_overlay(site):
    packed = build(site)
    assert content_of(packed, "etc/hostname") == b"web1\n"
    assert content_of(packed, "etc/apk/world") == b"alpine-base\ndropbear\nnginx\n"
    assert content_of(packed, "etc/bootsmith/template") == b"web\n"
    assert content_of(packed, "etc/.default_boot_services") == b""
    members = members_of(packed)
    assert members["etc/runlevels/default/nginx"].linkname == "/etc/init.d/nginx"
    assert members["etc/runlevels/default/local"].linkname == "/etc/init.d/local"


def test_without_default_boot_services_there_is_no_marker(site):
    packed = build(site, default_boot_services=False)
    assert "etc/.default_boot_services" not in members_of(packed)


def test_later_overlays_lie_over_earlier_ones(site):
    put(site, "base/etc/motd", b"base\n")
    put(site, "base/etc/hosts", b"hosts\n")
    put(site, "web/etc/motd", b"web\n")
    packed = build(site)
    assert content_of(packed, "etc/motd") == b"web\n"
    assert content_of(packed, "etc/hosts") == b"hosts\n"
    assert content_of(build(site, stack=("web", "base")), "etc/motd") == b"base\n"


def test_modes_come_from_git_and_owners_not_from_the_working_tree(site):
    put(site, "base/etc/private", mode=0o600)
    put(site, "base/etc/local.d/x.start", mode=0o700)
    put(site, "base/etc/plain", mode=0o666)
    (site / "overlays/base/etc").chmod(0o700)
    members = members_of(build(site))
    assert members["etc/private"].mode == 0o644
    assert members["etc/local.d/x.start"].mode == 0o755
    assert members["etc/plain"].mode == 0o644
    assert members["etc"].mode == 0o755
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}


def test_owners_say_owner_and_mode(site):
    put(site, "web/etc/shadow")
    put(site, "overlays.txt")
    (site / "overlays/web.owners").write_text(
        "0640 root:shadow etc/shadow\nd 1777 nobody:nogroup srv/upload/\n- 5:6 etc/\n"
    )
    members = members_of(build(site))
    assert (members["etc/shadow"].mode, members["etc/shadow"].gid) == (0o640, 42)
    upload = members["srv/upload"]
    assert (upload.mode, upload.uid, upload.gid, upload.isdir()) == (0o1777, 65534, 65533, True)
    assert (members["etc"].mode, members["etc"].uid, members["etc"].gid) == (0o755, 5, 6)
    assert members["srv"].mode == 0o755


def test_a_file_that_was_private_stays_so_when_it_is_replaced(site):
    put(site, "base/etc/key", b"old")
    put(site, "web/etc/key", b"new")
    (site / "overlays/base.owners").write_text("0600 root:root etc/key\n")
    packed = build(site)
    assert members_of(packed)["etc/key"].mode == 0o600
    assert content_of(packed, "etc/key") == b"new"
    (site / "overlays/web.owners").write_text("0644 root:root etc/key\n")
    assert members_of(build(site))["etc/key"].mode == 0o644


def test_links_stay_links_wherever_they_lead(site):
    put(site, "base/etc/target", b"content")
    etc = site / "overlays/base/etc"
    targets = {
        "dangling": "nowhere",
        "absolute": "/etc/passwd",
        "climbing": "../../../../../root",
        "loop": "loop",
        "directory": ".",
        "bytes": os.fsdecode(b"\xff\xfe"),
    }
    for name, target in targets.items():
        (etc / name).symlink_to(target)
    members = members_of(build(site))
    for name, target in targets.items():
        assert members[f"etc/{name}"].issym()
        assert members[f"etc/{name}"].linkname == target
    assert "etc/directory/target" not in members


def test_empty_directories_are_kept(site):
    (site / "overlays/web/var/empty").mkdir(parents=True)
    assert members_of(build(site))["var/empty"].isdir()


def test_names_that_are_not_utf8_are_kept_as_bytes(site):
    tree = os.fsencode(site / "overlays/web/etc")
    Path(os.fsdecode(tree + b"/caf\xe9")).write_bytes(b"x")
    packed = build(site)
    assert b"etc/caf\xe9\0" in gzip.decompress(packed.read_bytes())
    contents = json.loads((site / "out/contents.json").read_text())
    assert "etc/caf\udce9" in contents["members"]


def test_a_link_in_the_tree_may_say_what_the_recipe_says(site):
    link = site / "overlays/web/etc/runlevels/default/nginx"
    link.parent.mkdir(parents=True)
    link.symlink_to("/etc/init.d/nginx")
    assert members_of(build(site))["etc/runlevels/default/nginx"].issym()


def test_hard_links_are_files_of_their_own(site):
    os.link(put(site, "web/etc/one", b"same"), site / "overlays/web/etc/two")
    packed = build(site)
    assert content_of(packed, "etc/one") == content_of(packed, "etc/two") == b"same"


def test_the_same_tree_gives_the_same_bytes(site, tmp_path_factory):
    put(site, "web/etc/b")
    put(site, "web/etc/a", mode=0o755)
    first = build(site).read_bytes()
    other = tmp_path_factory.mktemp("other")
    for name in ("base", "web"):
        (other / "overlays" / name / "etc").mkdir(parents=True, mode=0o700)
    put(other, "web/etc/a", mode=0o711)
    put(other, "web/etc/b", mode=0o640)
    os.utime(other / "overlays/web/etc/b", (1, 1))
    assert build(other).read_bytes() == first


def test_contents_list_every_member(site):
    put(site, "web/etc/motd", b"hello\n")
    packed = build(site)
    contents = json.loads((site / "out/contents.json").read_text())
    members = members_of(packed)
    assert contents["schema"] == 1
    assert contents["template"] == "web"
    assert contents["members"].keys() == members.keys()
    assert contents["members"]["etc/motd"] == {
        "mode": "100644",
        "owner": "0:0",
        "sha256": hashlib.sha256(b"hello\n").hexdigest(),
        "size_bytes": 6,
    }
    assert content_of(packed, "etc/bootsmith/overlay").decode() == (
        contents["overlay_sha256"] + "\n"
    )


def test_the_overlay_digest_follows_every_property(site):
    def digest() -> str:
        return json.loads(build(site).with_name("contents.json").read_text())["overlay_sha256"]

    put(site, "web/etc/motd", b"one")
    seen = [digest(), digest()]
    assert seen[0] == seen[1]
    put(site, "web/etc/motd", b"two")
    seen.append(digest())
    put(site, "web/etc/motd", b"two", mode=0o755)
    seen.append(digest())
    (site / "overlays/web.owners").write_text("- 0:1 etc/motd\n")
    seen.append(digest())
    (site / "overlays/web/etc/motd").rename(site / "overlays/web/etc/motd2")
    (site / "overlays/web.owners").unlink()
    seen.append(digest())
    assert len(set(seen)) == 5


# -- what is refused -------------------------------------------------------------------


def test_special_files_are_refused(site):
    etc = site / "overlays/web/etc"
    os.mkfifo(etc / "pipe")
    assert message_of(site) == (
        "overlays/web/etc/pipe: is a named pipe; expected files, directories and symbolic links\n"
        "  next: remove it; a device manager makes such files at boot"
    )
    (etc / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(etc)  # the name of a socket is short
        try:
            listener.bind("talk")
        finally:
            os.chdir(here)
        assert message_of(site) == (
            "overlays/web/etc/talk: is a socket; expected files, directories and symbolic links\n"
            "  next: remove it; a device manager makes such files at boot"
        )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_device_nodes_are_refused(site):
    node = site / "overlays/web/etc/null"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert message_of(site) == (
        "overlays/web/etc/null: is a character device; expected files, directories and symbolic "
        "links\n  next: remove it; a device manager makes such files at boot"
    )


def test_extended_attributes_are_refused(site):
    os.setxattr(put(site, "web/etc/motd"), "user.note", b"x")
    assert message_of(site) == (
        "overlays/web/etc/motd: has extended attributes, which an apkovl cannot carry; got "
        "user.note\n  next: remove them (setfattr -x, setcap -r); capabilities can be set by an "
        "etc/local.d/*.start script"
    )


def test_an_attribute_on_a_directory_counts_too(site):
    os.setxattr(site / "overlays/web/etc", "user.note", b"x")
    assert message_of(site).startswith("overlays/web/etc: has extended attributes")


def test_files_at_the_top_are_refused(site):
    put(site, "web/README")
    assert message_of(site) == (
        "overlays/web/README: only directories can stand at the top of an overlay\n"
        "  next: move it into a directory: apk would end its overlay list at this name"
    )


def test_control_characters_in_names_are_refused(site):
    put(site, "web/etc/a\nb")
    assert message_of(site) == (
        "overlays/web/etc/a\\nb: name holds a control character\n"
        "  next: rename it: apk reads one per line"
    )


def test_very_deep_trees_are_refused_before_the_system_gives_up(site):
    here = os.getcwd()
    try:
        os.chdir(site / "overlays/web")
        for _ in range(600):
            os.mkdir("abcdefghi")
            os.chdir("abcdefghi")
    finally:
        os.chdir(here)
    assert message_of(site) == (
        f"overlays/web/{('abcdefghi/' * 6)}...: name too long; expected at most 1024 bytes, got "
        "1029\n  next: give it or its directories shorter names"
    )
    collapse(site / "overlays/web/abcdefghi")


def collapse(deep: Path) -> None:
    """Remove one chain of directories from below: too deep for pytest's clean-up."""
    here = os.getcwd()
    os.chdir(deep)
    depth = 0
    while os.path.isdir("abcdefghi"):
        os.chdir("abcdefghi")
        depth += 1
    for _ in range(depth):
        os.chdir("..")
        os.rmdir("abcdefghi")
    os.chdir(here)
    deep.rmdir()


def test_what_the_recipe_writes_cannot_be_in_a_tree(site):
    put(site, "web/etc/hostname")
    assert message_of(site) == (
        "etc/hostname: stands in an overlay, but is written from the template's recipe\n"
        "  next: remove the file, or say in the recipe what it says"
    )


def test_a_link_that_says_otherwise_than_the_recipe(site):
    link = site / "overlays/web/etc/runlevels/default/nginx"
    link.parent.mkdir(parents=True)
    link.symlink_to("/etc/init.d/httpd")
    assert message_of(site).startswith(
        "etc/runlevels/default/nginx: stands in an overlay, but is written from"
    )


def test_a_file_over_a_directory_is_refused(site):
    put(site, "base/etc/conf/x")
    put(site, "web/etc/conf")
    assert message_of(site) == (
        "overlays/web/etc/conf: is a file here and a directory in a lower overlay\n"
        "  next: rename or remove one of the two"
    )


def test_a_path_through_a_link_of_a_lower_overlay_is_refused(site):
    (site / "overlays/base/etc/conf").symlink_to("/root")
    put(site, "web/etc/conf/x")
    assert message_of(site) == (
        "overlays/web/etc/conf: is a directory here and a symbolic link in a lower overlay\n"
        "  next: rename or remove one of the two"
    )


def test_a_created_directory_below_a_link_is_refused(site):
    (site / "overlays/web/etc/conf").symlink_to("/root")
    (site / "overlays/web.owners").write_text("d 0755 root:root etc/conf/new/\n")
    assert message_of(site) == (
        "etc/conf/new: lies below etc/conf, which is a symbolic link\n"
        "  next: rename or remove one of the two"
    )


def test_a_created_directory_that_is_a_file_is_refused(site):
    put(site, "web/etc/conf")
    (site / "overlays/web.owners").write_text("d 0755 root:root etc/conf/\n")
    assert message_of(site) == (
        "overlays/web.owners:1: would make a directory where the overlay has a file; got "
        "etc/conf/\n  next: rename or remove one of the two"
    )


def test_the_recipe_writes_below_directories_only(site):
    put(site, "base/etc/runlevels")
    assert message_of(site).startswith(
        "etc/runlevels/default/local: lies below etc/runlevels, which is a file\n"
    )


def test_bad_ownership_files_name_their_line(site):
    put(site, "web/etc/motd")
    (site / "overlays/web.owners").write_text("# nginx serves it\n0644 nginx:root etc/motd\n")
    assert message_of(site) == (
        "overlays/web.owners:2: unknown user name; expected a fixed Alpine user such as root or "
        "nobody, or a number, got nginx\n"
        "  next: the user of a package gets its number when the package is installed: chown in "
        "an etc/local.d/*.start script instead"
    )


def test_a_rule_is_matched_in_its_own_overlay_only(site):
    put(site, "base/etc/motd")
    (site / "overlays/web.owners").write_text("0600 root:root etc/motd\n")
    assert message_of(site).startswith("overlays/web.owners:1: matches nothing")


def test_a_missing_overlay(site):
    assert message_of(site, stack=("base", "gone")) == (
        "overlays/gone: cannot be read: No such file or directory\n"
        "  next: make it, or take its name out of the template's overlays"
    )


def test_old_outputs_stay_when_a_build_fails(site):
    packed = build(site)
    before = {path: path.read_bytes() for path in packed.parent.iterdir()}
    put(site, "web/README")
    with pytest.raises(RecipeError):
        build(site)
    assert {path: path.read_bytes() for path in packed.parent.iterdir()} == before
