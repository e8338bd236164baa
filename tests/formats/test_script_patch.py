"""Patches to scripts: the engine on small scripts, and each patch that the site ships.

What a shipped patch puts in is run by dash, in a script with Alpine's anchors and in the
stand-in's own init, with stubs for what only a booting machine has.
"""

from __future__ import annotations

import os
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from bootsmith.errors import BuildError, FormatError, RecipeError
from bootsmith.formats.script_patch import (
    apply_patch,
    read_init_version,
    read_patch,
    read_script_version,
)
from bootsmith.tools.run import run_program

SCRIPT = b"#!/bin/sh\nfirst\n\tmiddle\nlast\n\tmiddle two\nend"
HEAD = 'schema = 1\nsummary = "for tests"\nscript = "init"\nfeatures = ["nfs"]\n'
TEXTS = {"one": "new\\n", "two": "newer"}


def patch(*hunks, versions=">=1.0 <2.0"):
    rows = "".join(f"    {{ {hunk} }},\n" for hunk in hunks)
    texts = "".join(f'{name} = "{text}"\n' for name, text in TEXTS.items() if f'"{name}"' in rows)
    text = f'{HEAD}[texts]\n{texts}[[ranges]]\nversions = "{versions}"\nhunks = [\n{rows}]\n'
    return read_patch("sample", text.encode(), subject="patches/sample.toml")


def version(text, edition=""):
    return read_script_version(text, edition=edition, subject="script")


def patched(*hunks, script=SCRIPT):
    return apply_patch(patch(*hunks), script, version("1.5"), subject="script")[0]


# -- the engine ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hunks,expected",
    [
        (['before = "first", texts = ["one"]'], b"#!/bin/sh\nnew\nfirst\n"),
        (['after = "first", texts = ["two", "one"]'], b"#!/bin/sh\nfirst\nnewer\nnew\n"),
        (['replace = "first", texts = ["two"]'], b"#!/bin/sh\nnewer\n"),
        (
            [
                'after = "first", texts = ["one"]',
                'before = "first", texts = ["two"]',
            ],
            b"#!/bin/sh\nnewer\nfirst\nnew\n",
        ),
    ],
)
def test_texts_go_where_the_anchor_is(hunks, expected):
    assert patched(*hunks) == expected + b"\tmiddle\nlast\n\tmiddle two\nend"


def test_an_anchor_may_have_several_lines_and_be_the_last_one():
    assert patched('replace = "\\tmiddle\\nlast", texts = ["one"]') == (
        b"#!/bin/sh\nfirst\nnew\n\tmiddle two\nend"
    )
    assert patched('after = "end", texts = ["one"]') == SCRIPT + b"\nnew"
    assert patched('after = "end", texts = ["one"]', script=SCRIPT + b"\n") == SCRIPT + b"\nnew\n"


def test_bytes_that_are_no_text_stay():
    script = SCRIPT + b"\n# \xff\xfe\n"
    assert (
        patched('after = "end", texts = ["one"]', script=script) == SCRIPT + b"\nnew\n# \xff\xfe\n"
    )


@pytest.mark.parametrize(
    "script,got",
    [
        (SCRIPT.replace(b"first", b"fist"), "not at all"),
        (SCRIPT.replace(b"first", b"first "), "not at all"),
        (SCRIPT.replace(b"first", b"\tfirst"), "not at all"),
        (SCRIPT + b"\nfirst\n", "2 times"),
    ],
)
def test_an_anchor_must_be_there_exactly_once(script, got):
    with pytest.raises(BuildError) as caught:
        patched(
            'after = "last", texts = ["one"]', 'before = "first", texts = ["one"]', script=script
        )
    assert str(caught.value) == (
        "script: patch sample for >=1.0 <2.0 does not apply to init 1.5; its anchor is "
        f'"first"; expected the anchor once, got {got}\n'
        "  next: this script is not as released; add a range for it to patches/sample.toml, "
        "or leave the patch out"
    )


@pytest.mark.parametrize(
    "hunks",
    [
        ['before = "last", texts = ["one"]', 'before = "last", texts = ["two"]'],
        ['after = "\\tmiddle", texts = ["one"]', 'before = "last", texts = ["two"]'],
        ['replace = "last", texts = ["one"]', 'replace = "\\tmiddle\\nlast", texts = ["two"]'],
        ['replace = "\\tmiddle\\nlast", texts = ["one"]', 'before = "last", texts = ["two"]'],
    ],
)
def test_hunks_that_meet_are_refused(hunks):
    with pytest.raises(BuildError, match=r"two hunks of patch sample meet in init 1\.5"):
        patched(*hunks)


def test_a_version_without_a_range_is_refused():
    with pytest.raises(BuildError) as caught:
        apply_patch(
            patch('before = "first", texts = ["one", "two"]'),
            SCRIPT,
            version("2.0"),
            subject="x: init",
        )
    assert str(caught.value) == (
        "x: init: patch sample knows no init of version 2.0; expected one of >=1.0 <2.0\n"
        "  next: compare this script with the one before and add a range to "
        "patches/sample.toml, or leave the patch out"
    )
    with pytest.raises(BuildError, match=r"of version 1\.5 \(another\)"):
        patch('before = "first", texts = ["one", "two"]').range_for(
            version("1.5", "another"), subject="x"
        )


def test_a_range_may_need_nothing():
    text = HEAD + '[texts]\n[[ranges]]\nversions = ">=1 <2"\nnot_needed = "does it itself"\n'
    one = read_patch("sample", text.encode(), subject="sample")
    script, chosen = apply_patch(one, SCRIPT, version("1.5"), subject="script")
    assert (script, chosen.not_needed) == (SCRIPT, "does it itself")


@pytest.mark.parametrize(
    "script,problem",
    [
        (b"\x7fELF\0\0", "is no script: it does not start with #!"),
        (b"", "is no script: it does not start with #!"),
        (SCRIPT + b"\0", "is no script: it holds a zero byte"),
        (SCRIPT.replace(b"\n", b"\r\n"), "has carriage returns, which no shell takes as the end"),
        (SCRIPT + b"\n" * (1 << 20), "is too long for a script"),
    ],
)
def test_what_is_no_script_is_refused(script, problem):
    with pytest.raises(FormatError) as caught:
        patched('after = "end", texts = ["one"]', script=script)
    assert problem in str(caught.value)


# -- versions --------------------------------------------------------------------------


def test_versions_are_in_the_order_of_their_release():
    ordered = [
        *("2.9", "3.0.0_alpha1", "3.0.0_rc1", "3.0.0_rc10", "3.0.0", "3.0.0-r1", "3.0.0-r10"),
        *("3.0.0-4-g0a1b2c3", "3.0.0_git20200101", "3.0.1_rc1", "3.0.1", "3.0.10", "3.1"),
    ]
    ranks = [version(text).rank for text in ordered]
    assert ranks == sorted(ranks)
    assert len({str(rank) for rank in ranks}) == len(ranks)
    assert version("3.1").rank == version("3.1.0").rank == version("3.1.0-r0").rank


@pytest.mark.parametrize("text", ["", "3.", "v3.1", "3.1 ", "3.1-beta", "@VERSION@", "1" * 10, "³"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(FormatError, match="is no version"):
        version(text)


def test_init_says_its_version_and_whose_it_is():
    script = b'#!/bin/sh\nVERSION=3.13.0-r2\necho "Alpine Init $VERSION"\n'
    assert str(read_init_version(script, subject="x")) == "3.13.0-r2"
    other = script.replace(b'$VERSION"', b'$VERSION (somebody)"')
    assert str(read_init_version(other, subject="x")) == "3.13.0-r2 (somebody)"


@pytest.mark.parametrize(
    "script,got",
    [
        (b"#!/bin/sh\necho hello\n", "0 and 0"),
        (b'#!/bin/sh\nVERSION=1\nVERSION=2\necho "Alpine Init $VERSION"\n', "2 and 1"),
        (
            b'#!/bin/sh\nVERSION=1\nx "Alpine Init $VERSION"\nx "Alpine Init $VERSION (a)"\n',
            "1 and 2",
        ),
    ],
)
def test_an_init_of_unknown_version_is_refused(script, got):
    with pytest.raises(FormatError) as caught:
        read_init_version(script, subject="initramfs: init")
    assert str(caught.value) == (
        "initramfs: init: does not say which version of Alpine's init it is; expected one line "
        f'VERSION=... and one spelling of "Alpine Init $VERSION", got {got}\n'
        "  next: use the initramfs of an Alpine ISO, or leave all patches out: patches = []"
    )


# -- reading a patch -------------------------------------------------------------------

RANGE = '[[ranges]]\nversions = ">=1 <2"\n'
HUNK = 'hunks = [{ before = "a", texts = ["one"] }]\n'
ONE = '[texts]\none = "new"\n'


@pytest.mark.parametrize(
    "text,message",
    [
        (b"\xff", "sample: is no TOML"),
        ("x = [" * 5000, "sample: is no TOML"),
        ("a = 1\n" + "#" * (1 << 20), "sample: is no TOML: 1048582 bytes are too many"),
        ("schema = 1\n", "sample: the patch: summary is missing"),
        (HEAD + "more = 1\n[texts]\n", "sample: the patch: has no key 'more'"),
        (HEAD.replace("1", "2") + ONE + RANGE + HUNK, "sample: schema: is not 1; got 2"),
        (HEAD.replace("1", "true") + ONE + RANGE, "sample: the patch: schema is of another type"),
        (HEAD.replace('"nfs"', "3") + ONE + RANGE + HUNK, "sample: features: should hold texts"),
        (HEAD + "ranges = []\n[texts]\n", "sample: ranges: there are none"),
        (HEAD + "ranges = [3]\n[texts]\n", "sample: ranges[0]: should be a table"),
        (HEAD + ONE + RANGE, "sample: ranges[0]: needs either hunks or not_needed"),
        (HEAD + ONE + RANGE + HUNK + 'not_needed = "x"\n', "needs either hunks or not_needed"),
        (HEAD + ONE + RANGE + "hunks = []\n", "sample: ranges[0].hunks: there are none"),
        (HEAD + ONE + RANGE + 'hunks = [{ texts = ["one"] }]\n', "needs one of before, after"),
        (
            HEAD + ONE + RANGE + 'hunks = [{ before = "a", after = "b", texts = ["one"] }]\n',
            "sample: ranges[0].hunks[0]: needs one of before, after, replace",
        ),
        (HEAD + ONE + RANGE + 'hunks = [{ before = " \\n", texts = ["one"] }]\n', "lines of text"),
        (HEAD + ONE + RANGE + 'hunks = [{ before = "a\\r", texts = ["one"] }]\n', "lines of text"),
        (HEAD + ONE + RANGE + 'hunks = [{ before = "a", texts = [] }]\n', "has no texts"),
        (
            HEAD + ONE + RANGE + 'hunks = [{ before = "a", texts = ["x"] }]\n',
            "there is no text 'x'",
        ),
        (
            HEAD + ONE.replace("new", "a\\u0000") + RANGE + HUNK,
            "sample: texts.one: should be lines",
        ),
        (HEAD + ONE + 'two = "x"\n' + RANGE + HUNK, "sample: texts.two: is used by no hunk"),
        (
            HEAD + ONE + RANGE.replace("<2", "<=2") + HUNK,
            "sample: ranges[0].versions: is no version",
        ),
        (HEAD + ONE + RANGE.replace(">=1 ", "") + HUNK, "sample: ranges[0].versions: is no range"),
        (HEAD + ONE + RANGE.replace("<2", "<1") + HUNK, "sample: ranges[0].versions: is empty"),
        (
            HEAD + ONE + RANGE + HUNK + RANGE.replace(">=1", ">=1.5") + HUNK,
            "sample: ranges: >=1 <2 and >=1.5 <2 overlap",
        ),
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(RecipeError) as caught:
        try:
            read_patch(
                "sample", text if isinstance(text, bytes) else text.encode(), subject="sample"
            )
        except FormatError as error:
            raise RecipeError(error.subject, error.problem, hint=error.hint) from None
    assert message in str(caught.value)
    assert "next: " in str(caught.value)


# -- the patches of this site ----------------------------------------------------------


def shipped(checkout):
    return {
        path.stem: read_patch(path.stem, path.read_bytes(), subject=path)
        for path in sorted((checkout / "recipes/patches").glob("*.toml"))
    }


def test_ranges_of_nfs_medium_leave_no_gap(checkout):
    one = shipped(checkout)["nfs-medium"]
    ranges = sorted((r for r in one.ranges if not r.first.edition), key=lambda r: r.first.rank)
    assert ranges[0].first.rank <= version("2.7.1").rank
    assert ranges[-1].end.rank > version("3.14.9").rank
    for before, after in pairwise(ranges):
        assert before.end.rank == after.first.rank, f"{before}, {after}"
    for text in ("2.7.1", "2.8.0"):
        assert one.range_for(version(text), subject="x").not_needed
    for text in (
        "3.0.0",
        "3.0.2",
        "3.0.5",
        "3.3.0",
        "3.4.0_rc1",
        "3.8.0_rc4",
        "3.8.0",
        "3.14.0-r0",
    ):
        assert one.range_for(version(text), subject="x").hunks


def test_texts_are_within_what_a_patch_needs(checkout):
    # An anchor locates a line; it is no place to keep somebody's script.
    for one in shipped(checkout).values():
        for chosen in one.ranges:
            for hunk in chosen.hunks:
                assert hunk.anchor.count("\n") <= 1
                assert len(hunk.anchor) <= 80


# What init has around the anchors, in our own words; TAIL differs between versions.
ALPINE = """#!/bin/sh
VERSION=@VERSION@
echo "Alpine Init $VERSION"
ebegin() {
	echo "begin $*"
}
eend() {
	echo "end $*"
}
configure_ip() {
@IP@
}
KOPT_apkovl=$APKOVL
# locate boot media and mount it
ebegin "Mounting boot media"
nlplug-findfs \\
@TAIL@
eend $?
echo "state $nfs_state"
# mount tmpfs sysroot
configure_ip
echo "overlay $KOPT_apkovl"
"""
TAILS = {
    "3.0.0": "\t-b /tmp/repositories -a /tmp/apkovls",
    "3.0.2": "\t-b $repofile -a /tmp/apkovls",
    "3.0.4": "\t$repoopts -a /tmp/apkovls",
    "3.3.0": "\t$repoopts -a /tmp/apkovls",
    "3.13.0": '\t$repoopts -a "$ROOT"/tmp/apkovls',
}
WITH_MEDIUM = "alpine_dev=nfs:10.0.0.1:/srv/medium:vers=4.1,port=12049"


# Init does what ip= says: up to 3.0.5 nothing without it, and each time that it is asked.
EACH_TIME = '\techo "ip ${KOPT_ip:-unset}"'
ONCE = '\t[ -z "$MAC_ADDRESS" ] || return 0\n\tMAC_ADDRESS=1\n\techo "ip ${KOPT_ip:-dhcp}"'


class Machine:
    """Stubs for what a patched script asks of a machine, and a place for its medium."""

    def __init__(self, root: Path, script: bytes) -> None:
        self.root = root
        self.medium = root / "media/alpine"
        self.script = root / "script"
        text = script.decode()
        # Absolute paths of the machine become paths below our root.
        for path in ("/sys/", "/media/", "/tmp/nfs-medium"):
            text = text.replace(f"{path}", f"{root}{path}")
        self.script.write_text(text.replace("/sbin/modprobe", "modprobe"))
        (root / "sys/class/net/eth0/device").mkdir(parents=True)
        (root / "sys/devices").mkdir()
        (root / "tmp").mkdir()
        (root / "sys/devices/modalias").write_text("virtio:d00000001v00001AF4\n")
        (root / "bin").mkdir()
        self.stub("modprobe", 'echo "modprobe $*" >> "$ROOT"/log')
        self.stub("sleep", ":")
        self.stub("mount", 'echo "mount $*"')
        self.stub("nlplug-findfs", 'echo "nlplug $*"; exit 1')

    def stub(self, name: str, body: str) -> None:
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def put_overlay(self, name: str) -> None:
        path = self.medium / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def run(self, command_line: str, apkovl: str = "", more: str = "") -> list[str]:
        (self.root / "proc").mkdir(exist_ok=True)
        (self.root / "proc/cmdline").write_text(f"console=ttyS0 {command_line} quiet\n")
        done = run_program(
            ["sh", "-c", f'. "{self.script}"\n{more}', "sh", "--functions-only"],
            environment={
                "ROOT": str(self.root),
                "APKOVL": apkovl,
                "PATH": f"{self.root}/bin:{os.defpath}",
                # The kernel hands words that it does not know to init as environment.
                "nfs_state": "mounted",
                "nfs_settled": "yes",
            },
        )
        return done.text.replace(f"{self.root}", "").splitlines()


@pytest.fixture(params=sorted(TAILS))
def machine(request, checkout, tmp_path):
    text = ALPINE.replace("@VERSION@", f"{request.param}-r0")
    text = text.replace("@TAIL@", TAILS[request.param])
    text = text.replace("@IP@", EACH_TIME if request.param in ("3.0.0", "3.0.2", "3.0.4") else ONCE)
    script = text.encode()
    one = shipped(checkout)["nfs-medium"]
    result, _ = apply_patch(one, script, read_init_version(script, subject="x"), subject="x")
    return Machine(tmp_path, result)


MOUNTED = [
    "ip dhcp",
    "begin Mounting boot medium from 10.0.0.1:/srv/medium",
    "mount -t nfs -o ro,vers=4.1,port=12049 10.0.0.1:/srv/medium /media/alpine",
    "end 0",
]


def said(lines):
    """Without the first line, which greets."""
    return lines[1:]


def test_without_alpine_dev_on_nfs_nothing_changes(machine):
    ip = "ip unset" if 'echo "ip ${KOPT_ip:-unset}"' in machine.script.read_text() else "ip dhcp"
    expected = ["begin Mounting boot media", "nlplug", "end 1", "state", ip]
    for words in ("", "alpine_dev=usbdisk:vfat", f"{WITH_MEDIUM} alpine_dev=LABEL=x"):
        lines = machine.run(words, apkovl="/media/sda1/x.apkovl.tar.gz")
        assert [line.partition(" -")[0].strip() for line in lines[1:]] == [
            *expected,
            "overlay /media/sda1/x.apkovl.tar.gz",
        ]
    assert not (machine.root / "log").exists()


def test_an_overlay_on_the_medium_spares_the_search(machine):
    machine.put_overlay("node.apkovl.tar.gz")
    settled = [*MOUNTED, "begin Mounting boot media", "end 0", "state mounted"]
    assert said(machine.run(WITH_MEDIUM)) == [
        *settled,
        "overlay /media/alpine/node.apkovl.tar.gz",
    ]
    machine.put_overlay("more/other.apkovl.tar.gz")
    for named in ("more/other", "/more/other", f"{machine.medium}/more/other"):
        assert said(machine.run(WITH_MEDIUM, apkovl=f"{named}.apkovl.tar.gz"))[4:] == [
            *settled[4:],
            # A relative name and one from the root of the medium lead to the same file.
            "overlay /media/alpine/more/other.apkovl.tar.gz",
        ]
    url = "http://10.0.0.1/x.apkovl.tar.gz"
    assert said(machine.run(WITH_MEDIUM, apkovl=url)) == [*settled, f"overlay {url}"]
    log = (machine.root / "log").read_text().splitlines()
    assert "modprobe -a -b -q virtio:d00000001v00001AF4" in log
    assert "modprobe -a -q af_packet nfs nfsv3 nfsv4" in log


def test_of_several_overlays_none_is_used(machine):
    machine.put_overlay("a.apkovl.tar.gz")
    machine.put_overlay("b.apkovl.tar.gz")
    lines = said(machine.run(WITH_MEDIUM))
    assert lines[4] == (
        "WARNING: none of these overlays is used, name one with apkovl=: "
        "/media/alpine/a.apkovl.tar.gz /media/alpine/b.apkovl.tar.gz"
    )
    assert lines[5:] == ["begin Mounting boot media", "end 0", "state mounted", "overlay "]


def test_local_media_need_not_be_found(machine):
    searched = said(machine.run(WITH_MEDIUM, apkovl="typo.apkovl.tar.gz"))
    assert searched[:5] == [*MOUNTED, "begin Mounting boot media"]
    assert searched[5].startswith("nlplug ")
    assert searched[6:] == [
        "end 0",
        "state mounted",
        "WARNING: typo.apkovl.tar.gz: no such overlay",
        "overlay typo.apkovl.tar.gz",
    ]


def test_a_medium_that_does_not_mount_is_an_error(machine):
    machine.stub("mount", 'echo "mount: Connection refused" >&2; echo try; exit 32')
    lines = machine.run(WITH_MEDIUM)
    assert lines.count("try") == 11
    assert "end 1 mount: Connection refused" in lines
    assert "state tried" in lines
    # Local media are searched then, and not finding any is an error as well.
    assert [line for line in lines if line.startswith("end")] == [
        "end 1 mount: Connection refused",
        "end 1",
    ]


def test_a_network_card_that_comes_late_is_waited_for(machine):
    (machine.root / "sys/class/net/eth0/device").rmdir()
    (machine.root / "sys/class/net/eth0").rmdir()
    # It appears when nlplug-findfs, which knows more ways to find drivers, has run.
    machine.stub("nlplug-findfs", f"mkdir -p {machine.root}/sys/class/net/eth0/device; exit 1")
    machine.put_overlay("node.apkovl.tar.gz")
    lines = machine.run(WITH_MEDIUM)
    assert lines[1:4] == ["begin Mounting boot media", "end 0", "state wanted"]
    assert "overlay /media/alpine/node.apkovl.tar.gz" in lines
    assert MOUNTED[2] in lines
    machine.stub("nlplug-findfs", "exit 1")
    for path in ("sys/class/net/eth0/device", "sys/class/net/eth0"):
        (machine.root / path).rmdir()
    lines = machine.run(WITH_MEDIUM)
    assert "end 1 there is no network card that a driver in the initramfs knows" in lines


@pytest.mark.parametrize("machine", ["3.13.0"], indirect=True)
@pytest.mark.parametrize(
    "words", ["nfs:", "nfs:server", "nfs::/srv", "nfs:a:b", "nfs:a:/b:vers=3:x"]
)
def test_a_medium_that_is_spelled_wrong_is_an_error(machine, words):
    lines = machine.run(f"alpine_dev={words}")
    assert lines[1:3] == [
        "begin Mounting boot medium",
        f"end 1 alpine_dev={words}; expected alpine_dev=nfs:SERVER:/EXPORT[:OPTIONS]",
    ]
    assert not any(line.startswith("mount") for line in lines)


@pytest.mark.parametrize("machine", ["3.13.0"], indirect=True)
@pytest.mark.parametrize(
    "options,mounted",
    [
        ("", "ro,nolock"),
        (":vers=3", "ro,nolock,vers=3"),
        (":nfsvers=3,port=2050", "ro,nolock,nfsvers=3,port=2050"),
        (":vers=4", "ro,vers=4"),
        (":port=2050,nfsvers=4.2", "ro,port=2050,nfsvers=4.2"),
    ],
)
def test_options_go_to_the_kernel(machine, options, mounted):
    lines = machine.run(f"alpine_dev=nfs:storage:/{options}")
    assert f"mount -t nfs -o {mounted} storage:/ /media/alpine" in lines


def test_the_init_of_the_stand_in_takes_it_too(checkout, tmp_path):
    script = (checkout / "bootsmith/builders/standin_data/initramfs/init").read_bytes()
    found = read_init_version(script, subject="x")
    assert found.edition == "bootsmith stand-in"
    one = shipped(checkout)["nfs-medium"]
    result, chosen = apply_patch(one, script, found, subject="x")
    assert chosen.first.edition == found.edition
    machine = Machine(tmp_path, result)
    run_program(["sh", "-n", machine.script])
    machine.put_overlay("node.apkovl.tar.gz")
    more = (
        "configure_ip() { echo 'ip dhcp'; }\n"
        'begin() { echo "begin $*"; }\n'
        'end() { echo "end $*"; }\n'
        "option_apkovl=$APKOVL nfs_apkovl=$APKOVL\n"
        "nfs_medium_early\noption_apkovl=$nfs_apkovl\n"
        'find_boot_media\necho "overlay $option_apkovl"\n'
    )
    lines = machine.run(WITH_MEDIUM, more=more)
    assert lines == [*MOUNTED, "overlay /media/alpine/node.apkovl.tar.gz"]
    lines = machine.run(WITH_MEDIUM, apkovl="typo", more=more)
    assert lines[-2:] == ["end 0", "overlay typo"]


def test_features_of_shipped_patches_exist(checkout):
    names = {path.stem for path in (checkout / "recipes/features.d").iterdir()}
    for one in shipped(checkout).values():
        assert set(one.features) <= names
    documents = [tomllib.loads(p.read_text()) for p in (checkout / "recipes/patches").iterdir()]
    assert all(document["summary"] for document in documents)
