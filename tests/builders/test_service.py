"""Patched modloop services: out of a release's package, into an apkovl, and what they do.

The patched lines run here under busybox and sh, with the real openssl; `mount` and what
OpenRC provides are stubs. Real upstream scripts are not part of this tree: what stands in for
them has the lines that the patches look for.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest
from pxerd_samples import write_release

from bootsmith.builders.apkovl import build_apkovl
from bootsmith.builders.service import build_service
from bootsmith.errors import BuildError, RecipeError
from bootsmith.formats.additions import read_additions
from bootsmith.formats.apk import ApkEntry, ApkInfo, index_record, read_apk, write_apk, write_index
from bootsmith.formats.signing_key import derive_signing_key
from bootsmith.tools.run import run_program

KEY = derive_signing_key(name="site.rsa.pub", seed="the key of a service test")
OTHER = derive_signing_key(name="other.rsa.pub", seed="another key")
STANDIN = "bootsmith/builders/standin_data/packages/openrc/etc/init.d/modloop"
# As services from 3.9 on: named images, or all that the media have.
CURRENT = """\
#!/sbin/openrc-run
find_modloop() {
	for img in "$1"/boot/*; do
		verify_modloop "$img" || eerror "Failed to verify signature of $img!"
		mount "$img" -o loop,ro /.modloop || continue
		return 0
	done
	return 1
}

verify_modloop() {
	echo "stock verification"
	return 1
}

start() {
	case "$KOPT_modloop" in
		http://*|https://*|ftp://*) ;;
	esac
	if [ -n "$KOPT_modloop" ]; then
		modloop=/media/boot/$KOPT_modloop
		mount -o loop,ro $modloop /.modloop
		eend $? || return 1
	else
		find_modloop /media || return 1
	fi
	echo started
}
"""
# As services of 3.3 and before it.
OLD = """\
#!/sbin/openrc-run
start() {
	case "$KOPT_modloop" in
		http://*|https://|ftp://*)
			echo "url $KOPT_modloop"
			;;
		*)
			echo "file $KOPT_modloop"
			;;
	esac
}
"""


@pytest.fixture
def release(tmp_path):
    """Writes an ISO and its facts with one package openrc of a version, or with none."""

    def write(script, version, *, name="openrc", is_standin=False):
        entry = ApkEntry(name="etc/init.d/modloop", data=script.encode(), mode=0o755)
        apk = write_apk(info=ApkInfo(name=name, version=version), entries=[entry], key=KEY)
        record = index_record(read_apk(apk), file_size_bytes=len(apk))
        index = write_index(description="test", records=[record], key=KEY)
        content = {f"{name}-{version}.apk": apk, "APKINDEX.tar.gz": index}
        files = [(f"apks/x86_64/{path}", data) for path, data in content.items()]
        write_release(tmp_path, files, is_standin=is_standin)

    return write


@pytest.fixture
def build(tmp_path, checkout):
    def build(*patches, features=("nfs", "https")):
        build_service(
            iso=tmp_path / "iso",
            facts=tmp_path / "facts.json",
            features=features,
            patches=patches,
            patch_directories=[checkout / "recipes/patches"],
            cache=tmp_path / "cache",
            output=tmp_path / "additions.json",
        )
        return read_additions((tmp_path / "additions.json").read_bytes(), subject="x")

    return build


def script_of(additions):
    (file,) = additions.files
    assert (file.path, file.mode) == ("etc/init.d/modloop", 0o755)
    return file.content.decode()


def run(root: Path, script: str, *lines: str, shell="busybox", path=None) -> list[str]:
    """What the script's functions say when `lines` run, with its paths below `root`."""
    script = re.sub(r"(?<![\w.$}/])/(etc|var|proc|lib|media|\.modloop)\b", rf"{root}/\1", script)
    stubs = """
eerror() { echo "eerror $*"; }
einfo() { echo "einfo $*"; }
ebegin() { echo "ebegin $*"; }
eend() { echo "eend $1"; return "$1"; }
mount() { echo "mount $*"; }
"""
    if path is not None:
        lines = (f"PATH={path}", *lines)
    text = "\n".join([stubs, script, *lines])
    (root / "script").write_text(text)
    if shell == "sh":
        done = run_program(["sh", root / "script"], accepted_statuses=(0, 1))
    else:
        done = run_program(["busybox", "sh", root / "script"], accepted_statuses=(0, 1))
    return done.text.replace(str(root), "").splitlines()


@pytest.fixture
def machine(tmp_path):
    """A root with a modloop on its medium, a trusted key, and a signature that fits."""
    root = tmp_path / "machine"
    for directory in ("etc/apk/keys", "var/cache/misc", "media/boot", "proc", "lib"):
        (root / directory).mkdir(parents=True)
    (root / "media/boot/modloop-lts").write_bytes(b"hsqs" * 9999)
    (root / "etc/apk/keys/site.rsa.pub").write_bytes(KEY.public_pem())
    (root / "etc/apk/keys/other.rsa.pub").write_bytes(OTHER.public_pem())
    (root / "var/cache/misc/modloop-lts.SIGN.RSA.site.rsa.pub").write_bytes(
        KEY.sign_sha1(b"hsqs" * 9999)
    )
    return root


def flip_a_bit(machine):
    (machine / "media/boot/modloop-lts").write_bytes(b"hsqs" * 9998 + b"hsqr")


REFUSED = {
    "match": (lambda machine: None, None),
    "mismatch": (flip_a_bit, "its signature does not match"),
    "missing": (
        lambda machine: next((machine / "var/cache/misc").iterdir()).unlink(),
        "it has no signature of a key in /etc/apk/keys",
    ),
    "a key that is not trusted": (
        lambda machine: (machine / "etc/apk/keys/site.rsa.pub").unlink(),
        "it has no signature of a key in /etc/apk/keys",
    ),
    "no keys at all": (
        lambda machine: [path.unlink() for path in (machine / "etc/apk/keys").iterdir()],
        "it has no signature of a key in /etc/apk/keys",
    ),
    "a bad signature beside a good one": (
        lambda machine: (machine / "var/cache/misc/modloop-lts.SIGN.RSA.other.rsa.pub").write_bytes(
            bytes(256)
        ),
        None,
    ),
}


@pytest.mark.parametrize("shell", ["busybox", "sh"])
@pytest.mark.parametrize("case", REFUSED)
def test_strict_services_mount_what_verifies(release, build, machine, case, shell):
    change, problem = REFUSED[case]
    release(CURRENT, "0.46-r5")
    script = script_of(build("modloop-strict"))
    change(machine)
    image = "/media/boot/modloop-lts"
    refused = f"eerror Refusing to mount {image}: {problem}!"
    named = run(machine, script, "KOPT_modloop=modloop-lts start; echo $?", shell=shell)
    found = run(machine, script, "KOPT_modloop= start; echo $?", shell=shell)
    if problem is None:
        assert named == [f"mount -o loop,ro {image} /.modloop", "eend 0", "started", "0"]
        assert found == [f"mount {image} -o loop,ro /.modloop", "started", "0"]
    else:
        assert named == [refused, "eend 1", "1"]
        assert found == [refused, "1"]


def test_without_openssl_nothing_is_mounted(release, build, machine):
    release(CURRENT, "0.46-r5")
    (machine / "bin").mkdir()
    script = script_of(build("modloop-strict"))
    # busybox finds its own applets without a path; openssl it does not find.
    said = run(machine, script, "KOPT_modloop=modloop-lts start", path=f"{machine}/bin")
    assert said == [
        "eerror Refusing to mount /media/boot/modloop-lts: there is no openssl to verify it with!",
        "eend 1",
    ]


@pytest.mark.parametrize("case", REFUSED)
def test_the_stand_ins_service_does_the_same(release, build, machine, checkout, case):
    change, problem = REFUSED[case]
    release((checkout / STANDIN).read_text(), "0.45.2-r0", is_standin=True)
    script = script_of(build("modloop-strict"))
    change(machine)
    (machine / "proc/cmdline").write_text("modloop=/boot/modloop-lts modloop_verify=no\n")
    (machine / "proc/mounts").write_text(f"/dev/sda1 {machine}/media vfat ro 0 0\n")
    lines = ("lay_over() { :; }", "provide_firmware() { :; }", "start")
    image = "/media/boot/modloop-lts"
    begin = "ebegin Mounting modloop"
    if problem is None:
        mounted = f"mount -o loop,ro {image} /.modloop"
        assert run(machine, script, *lines) == [begin, mounted, "eend 0"]
    else:
        refused = f"eerror Refusing to mount {image}: {problem}!"
        assert run(machine, script, *lines) == [begin, refused, "eend 1"]


def test_an_unpatched_stand_in_complains_and_mounts(machine, checkout):
    flip_a_bit(machine)
    (machine / "proc/cmdline").write_text("modloop=/boot/modloop-lts\n")
    (machine / "proc/mounts").write_text(f"/dev/sda1 {machine}/media vfat ro 0 0\n")
    lines = ("lay_over() { :; }", "provide_firmware() { :; }", "start")
    assert run(machine, (checkout / STANDIN).read_text(), *lines) == [
        "ebegin Mounting modloop",
        "eerror Failed to verify signature of /media/boot/modloop-lts!",
        "mount -o loop,ro /media/boot/modloop-lts /.modloop",
        "eend 0",
    ]


def test_https_is_a_url_where_it_was_none(release, build, machine):
    release(OLD, "0.18.3-r3")
    script = script_of(build("auto"))
    for url in ("https://s/m", "http://s/m", "ftp://s/m"):
        assert run(machine, script, f"KOPT_modloop={url} start") == [f"url {url}"]
    assert run(machine, OLD, "KOPT_modloop=https://s/m start") == ["file https://s/m"]
    assert run(machine, script, "KOPT_modloop=boot/m start") == ["file boot/m"]


@pytest.mark.parametrize("version", ["0.18.3-r3", "0.46-r5", "0.63-r1"])
def test_what_needs_no_patch_gets_none(release, build, version):
    release(CURRENT, version)
    found = build("auto")
    assert (found.choice, found.files) == ("not needed", ())
    assert found.notes == (
        'modloop-https for >=0.1 <1: this script does not have "http://*|https://|ftp://*)"',
        "modloop-nfs for >=0.18 <1: modloop services since Alpine 3.3 look at every mounted medium",
    )


def test_auto_goes_by_features(release, build):
    release(OLD, "0.13.6-r2")
    assert build("auto", features=("dhcp",)).notes == ()
    assert [note.split()[0] for note in build("auto").notes] == ["modloop-https", "modloop-nfs"]


# alpine_dev=nfs in 3.1: the medium is mounted, and its modloop is wanted.


@pytest.fixture
def nfs(release, build, machine):
    release(OLD, "0.13.6-r2")
    script = script_of(build("modloop-nfs"))
    (machine / "proc/cmdline").write_text("ip=dhcp alpine_dev=nfs:10.0.2.2:/srv quiet\n")
    (machine / "proc/mounts").write_text(
        f"rootfs / tmpfs rw 0 0\n10.0.2.2:/srv {machine}/media nfs ro 0 0\n"
    )
    (machine / "lib/firmware").mkdir()
    # An image is mounted by making what it has.
    mount = f'mount() {{ mkdir -p "{machine}/.modloop/modules/$(cat "$3")/" && echo "mount $3"; }}'
    lines = (mount, "uname() { echo 3.14.4-grsec; }", "umount() { rm -r $1/*; }")
    return lambda: run(machine, script, *lines, "KOPT_modloop= start")


def test_the_modloop_of_an_nfs_medium_is_found(nfs, machine):
    (machine / "media/boot/modloop-a").write_text("3.14.4-vanilla")
    (machine / "media/boot/modloop-grsec").write_text("3.14.4-grsec")
    assert nfs() == [
        "mount /media/boot/modloop-a",
        "mount /media/boot/modloop-grsec",
        "einfo Mounted modloop 3.14.4-grsec of the NFS medium",
    ]
    assert (machine / "lib/modules").readlink() == machine / ".modloop/modules"


def test_a_medium_without_one_is_left_to_the_script(nfs, machine):
    (machine / "media/boot/modloop-lts").unlink()
    assert nfs() == ["file "]


def test_other_media_are_left_to_the_script(nfs, machine):
    (machine / "proc/cmdline").write_text("alpine_dev=usbdisk:vfat\n")
    assert nfs() == ["file "]


# What does not fit.


def test_a_service_of_before_verification_cannot_be_strict(release, build):
    release(OLD, "0.18.3-r3")
    with pytest.raises(BuildError, match=r"knows no modloop of version 0\.18\.3-r3") as caught:
        build("modloop-strict")
    assert "openrc-0.18.3-r3: etc/init.d/modloop" in caught.value.subject


def test_another_script_is_refused(release, build, tmp_path):
    release(CURRENT.replace("-o loop,ro /.modloop || continue", "-o ro || continue"), "0.46-r5")
    with pytest.raises(BuildError) as caught:
        build("modloop-strict")
    assert str(caught.value).startswith(
        f"{tmp_path}/iso: openrc-0.46-r5: etc/init.d/modloop: patch modloop-strict for >=0.39 <1 "
        "does not apply to modloop 0.46-r5; its anchor is "
        '"mount "$img" -o loop,ro /.modloop || continue"; expected the anchor once, got not at all'
    )


def test_a_release_without_the_script_is_refused(release, build, tmp_path):
    release(CURRENT, "1-r0", name="other")
    with pytest.raises(BuildError, match=r"its packages have no /etc/init\.d/modloop to patch"):
        build("modloop-strict")


def test_a_patch_for_init_is_refused(release, build):
    release(CURRENT, "0.46-r5")
    with pytest.raises(RecipeError, match="patch nfs-medium: is not for modloop"):
        build("nfs-medium")


# In an apkovl.


def apkovl(tmp_path, tree):
    build_apkovl(
        overlays=[tree],
        owners=[None],
        template="t",
        hostname="t",
        packages=(),
        runlevels={},
        default_boot_services=True,
        service=tmp_path / "additions.json",
        output=tmp_path / "t.apkovl.tar.gz",
        contents=tmp_path / "contents.json",
    )
    with tarfile.open(tmp_path / "t.apkovl.tar.gz") as tar:
        return {
            member.name: (member.mode, tar.extractfile(member).read())
            for member in tar
            if member.isfile()
        }


def test_an_apkovl_carries_the_script(release, build, tmp_path):
    (tmp_path / "tree/etc").mkdir(parents=True)
    release(CURRENT, "0.46-r5")
    script = script_of(build("modloop-strict"))
    found = apkovl(tmp_path, tmp_path / "tree")["etc/init.d/modloop"]
    assert found == (0o755, script.encode())
    build("auto")
    assert "etc/init.d/modloop" not in apkovl(tmp_path, tmp_path / "tree")


def test_an_overlays_own_script_is_not_overridden(release, build, tmp_path):
    (tmp_path / "tree/etc/init.d").mkdir(parents=True)
    (tmp_path / "tree/etc/init.d/modloop").write_text("mine\n")
    release(CURRENT, "0.46-r5")
    build("modloop-strict")
    with pytest.raises(RecipeError, match=r"etc/init\.d/modloop: stands in an overlay"):
        apkovl(tmp_path, tmp_path / "tree")
