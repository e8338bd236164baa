"""doit diff: what changed, read off manifests and files."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile

import pytest

from bootsmith.errors import PublishError
from bootsmith.generations.diff import diff_generations

FIRST, SECOND = "2026-11-20.1", "2026-11-20.2"


def diff(fleet, *words, as_json=False):
    fleet.said.clear()
    diff_generations(
        artifacts=fleet.artifacts,
        operands=words,
        as_json=as_json,
        say=fleet.say,
        progress=fleet.progress,
    )
    return json.loads(fleet.said[0])["changes"] if as_json else fleet.said


def modloop(tmp_path, modules, *, release="6.1.0", compression="xz"):
    """An image of these modules, as mksquashfs makes it."""
    tree = tmp_path / "tree"
    for name, content in modules.items():
        path = tree / "modules" / release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    image = tmp_path / "image"
    subprocess.run(
        ["mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress", "-comp", compression],
        check=True,
        capture_output=True,
    )
    subprocess.run(["rm", "-r", tree], check=True)
    return image.read_bytes()


def apkovl(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_files_and_sizes_as_text(fleet):
    fleet.release(pxerd=b"1", extra=b"gone")
    (fleet.build / "extra").unlink()
    fleet.assemble(pxerd=b"22", other=b"x" * 1_500)
    assert diff(fleet) == [
        f"{FIRST} -> {SECOND}",
        "",
        "files",
        "  + other/virt/other  1.5 kB",
        "  - extra/virt/extra  4 B",
        "  ~ pxerd/virt/pxerd  1 B -> 2 B",
    ]


def test_the_same_as_json(fleet):
    fleet.release(pxerd=b"1")
    fleet.assemble(pxerd=b"22")
    files = diff(fleet, as_json=True)["files"][""]
    assert (files["added"], files["removed"]) == ({}, {})
    before, after = files["changed"]["pxerd/virt/pxerd"]
    assert (before["size_bytes"], after["size_bytes"]) == (1, 2)


def test_equal_content_says_so(fleet):
    fleet.release(pxerd=b"1")
    fleet.release(pxerd=b"2")
    fleet.release(pxerd=b"1")
    assert diff(fleet, FIRST, "2026-11-20.3") == [
        f"{FIRST} -> 2026-11-20.3",
        "machines see the same files",
    ]


def test_which_two_are_meant(fleet):
    fleet.release(pxerd=b"1")
    with pytest.raises(PublishError, match="there are no two generations yet"):
        diff(fleet)
    fleet.release(pxerd=b"2")
    assert diff(fleet)[0] == f"{FIRST} -> {SECOND}"  # the two newest
    fleet.assemble(pxerd=b"3")
    assert diff(fleet)[0] == f"{SECOND} -> 2026-11-20.3"  # current and candidate
    assert diff(fleet, FIRST)[0] == f"{SECOND} -> {FIRST}"
    assert diff(fleet, "latest", "current")[0] == f"2026-11-20.3 -> {SECOND}"
    with pytest.raises(PublishError, match="two generations, not 3"):
        diff(fleet, "1", "2", "3")
    with pytest.raises(PublishError, match="is not a generation here"):
        diff(fleet, "2025-01-01.1", "current")


def test_modules_by_content_not_by_compression(fleet, tmp_path):
    loop, zram = b"\x7fELF loop" * 900, b"\x7fELF zram" * 900
    old = {"kernel/loop.ko": loop, "kernel/zram.ko.gz": zram, "modules.dep": b"a"}
    new = {"kernel/loop.ko": loop, "kernel/zram.ko.gz": zram + b"!", "kernel/nfs.ko.xz": b"n"}
    fleet.release(modloop=modloop(tmp_path, old))
    fleet.release(modloop=modloop(tmp_path, new, compression="gzip"))
    changes = diff(fleet, as_json=True)["modules"]["virt"]
    assert list(changes["added"]) == ["kernel/nfs.ko.xz"]
    assert changes["removed"] == {}
    assert list(changes["changed"]) == ["kernel/zram.ko.gz"]


def test_modules_of_another_kernel_by_name(fleet, tmp_path):
    fleet.details = {"kernel": {"kernel_release": "6.1.0"}}
    fleet.release(kernel=b"old", modloop=modloop(tmp_path, {"loop.ko": b"a", "zram.ko": b"z"}))
    fleet.details = {"kernel": {"kernel_release": "6.2.0"}}
    new = modloop(tmp_path, {"loop.ko": b"b"}, release="6.2.0")
    fleet.release(kernel=b"new", modloop=new)
    changes = diff(fleet, as_json=True)
    assert changes["kernel_releases"][""]["changed"] == {"virt": ["6.1.0", "6.2.0"]}
    assert changes["modules"]["virt"] == {"added": {}, "removed": {"zram.ko": ""}, "changed": {}}


def test_an_unreadable_modloop_hides_nothing_else(fleet, tmp_path):
    fleet.release(modloop=modloop(tmp_path, {"loop.ko": b"a"}), pxerd=b"1")
    fleet.release(modloop=b"no image", pxerd=b"2")
    lines = diff(fleet)
    assert "  ~ pxerd/virt/pxerd      1 B, other content" in lines
    assert lines[lines.index("modules of virt") + 1].startswith("  ! ")


def test_what_the_initramfs_holds(fleet):
    fleet.details = {"pxerd": {"features": {"nfs": {}}, "modules": {"added": ["nfs.ko"]}}}
    fleet.release(pxerd=b"1")
    fleet.details = {
        "pxerd": {"features": {"nfs": {}, "https": {}}, "modules": {"added": ["nfsv4.ko"]}}
    }
    fleet.release(pxerd=b"2")
    assert diff(fleet)[4:] == [
        "",
        "initramfs of virt",
        "  + feature https",
        "  + modules nfsv4.ko",
        "  - modules nfs.ko",
    ]


def test_overlay_and_world(fleet):
    fleet.release(apkovl=apkovl(etc__hostname=b"a", etc__apk__world=b"alpine-base\ndropbear\n"))
    fleet.release(apkovl=apkovl(etc__hostname=b"b", etc__apk__world=b"alpine-base\nnginx\n"))
    changes = diff(fleet, as_json=True)
    assert list(changes["overlay"]["virt"]["changed"]) == ["etc/apk/world", "etc/hostname"]
    assert changes["world"]["virt"] == {
        "added": {"nginx": ""},
        "removed": {"dropbear": ""},
        "changed": {},
    }


def test_packages_of_a_key(fleet):
    def contents(*packages):
        entries = {
            f"apks/x86_64/{name}.apk": {"sha256": sha256 * 64, "size_bytes": 1}
            for name, sha256 in packages
        }
        return json.dumps({**entries, "boot/vmlinuz": {"sha256": "", "size_bytes": 1}}).encode()

    old = contents(("nginx-1.2-r0", "a"), ("busybox-openrc-1.35.0-r0", "a"), ("same-1-r0", "a"))
    new = contents(("nginx-1.4-r1", "b"), ("busybox-openrc-1.35.0-r0", "b"), ("same-1-r0", "a"))
    fleet.files = {"usbkey": "contents.json"}
    fleet.release(usbkey=old)
    fleet.release(usbkey=new)
    lines = diff(fleet)
    assert lines[lines.index("packages of virt") + 1 :] == [
        f"  ~ busybox-openrc  1.35.0-r0 {'a' * 12} -> 1.35.0-r0 {'b' * 12}",
        f"  ~ nginx           1.2-r0 {'a' * 12} -> 1.4-r1 {'b' * 12}",
    ]


def test_boot_options(fleet):
    fleet.files = {"usbkey": "virt.img"}
    fleet.details = {"usbkey": {"kernel_options": ["quiet", "console=tty0"]}}
    fleet.assemble(usbkey=b"1")
    fleet.details = {"usbkey": {"kernel_options": ["console=tty0", "debug"]}}
    fleet.assemble(usbkey=b"2")
    fleet.details = {"usbkey": {"kernel_options": ["debug", "console=tty0"]}}
    fleet.assemble(usbkey=b"3")
    lines = diff(fleet, FIRST, SECOND)
    assert lines[lines.index("boot options of virt") + 1 :] == ["  + debug", "  - quiet"]
    assert diff(fleet)[-1] == "  ~ order  console=tty0 debug -> debug console=tty0"


def test_steps_and_what_they_read(fleet):
    fleet.steps = {
        "pxerd:virt": {"key": "1", "inputs": {"a": "file 0644 " + "a" * 64}, "tools": {"x": "1"}},
        "usbkey:virt": {"key": "1", "inputs": {}, "tools": {}},
        "gone": {"key": "1", "inputs": {}, "tools": {}},
    }
    fleet.release(pxerd=b"1")
    fleet.steps = {
        "pxerd:virt": {"key": "2", "inputs": {"a": "file 0644 " + "b" * 64}, "tools": {"x": "2"}},
        "usbkey:virt": {"key": "2", "inputs": {}, "tools": {}},
    }
    fleet.release(pxerd=b"2")
    assert diff(fleet)[4:] == [
        "",
        "steps",
        "  - gone",
        "",
        "steps of pxerd:virt",
        f"  ~ a             file 0644 {'a' * 12} -> file 0644 {'b' * 12}",
        "  ~ version of x  1 -> 2",
        "",
        "steps of usbkey:virt",
        "  ~ for a value in recipes, for bootsmith's own code, or for what an earlier step made",
    ]


def test_what_changed_alike_is_said_once(fleet):
    fleet.release(pxerd=b"1")
    fleet.steps = {"a": {"key": "1"}, "b": {"key": "1"}, "c": {"key": "1", "tools": {"x": "1"}}}
    fleet.release(pxerd=b"2")
    fleet.steps = {"a": {"key": "2"}, "b": {"key": "2"}, "c": {"key": "2", "tools": {"x": "2"}}}
    fleet.release(pxerd=b"3")
    headings = [line for line in diff(fleet) if line.startswith("steps")]
    assert headings == ["steps of a, b", "steps of c"]


def test_a_long_list_is_cut_in_text_only(fleet, tmp_path):
    fleet.release(modloop=modloop(tmp_path, {"loop.ko": b"a"}))
    many = {f"{number:02}.ko": b"a" for number in range(30)}
    fleet.release(modloop=modloop(tmp_path, {"loop.ko": b"a", **many}))
    assert diff(fleet)[-1] == "  + … and 10 more; all: doit diff --json"
    assert len(diff(fleet, as_json=True)["modules"]["virt"]["added"]) == 30


def test_doit_diffs_with_broken_recipes(fleet):
    fleet.release(pxerd=b"1")
    fleet.assemble(pxerd=b"22")
    run = fleet.doit("diff")
    assert run.returncode == 0
    assert run.stdout.splitlines()[-1] == "  ~ pxerd/virt/pxerd  1 B -> 2 B"
    assert json.loads(fleet.doit("diff", FIRST, "latest", "--json").stdout)["schema"] == 1
