"""What a pxerd gets so that machines verify their modloop; openssl is the judge."""

from __future__ import annotations

import gzip

import pytest

from bootsmith.builders.signature import build_signature
from bootsmith.errors import BuildError, FormatError
from bootsmith.formats.additions import AddedFile, Additions, read_additions, write_additions
from bootsmith.formats.cpio import directory_entry, file_entry, write_cpio
from bootsmith.formats.release_facts import IsoFile, ReleaseFacts, write_release_facts
from bootsmith.formats.signing_key import derive_signing_key
from bootsmith.tools.run import run_program

STOCK = b"hsqs the modloop of the release" * 999
CHANGED = STOCK.replace(b"release", b"changes")
ALPINE = derive_signing_key(name="alpine-devel-6165ee59.rsa.pub", seed="in Alpine's place")
SITE = derive_signing_key(name="site.rsa.pub", seed="in the site's place")
STOCK_SIGNATURE = f"var/cache/misc/modloop-lts.SIGN.RSA.{ALPINE.name}"
OPENSSL = ("apks/x86_64/openssl-3.5.4-r0.apk", "apks/x86_64/libcrypto3-3.5.4-r0.apk")


class Inputs:
    """Everything that the step reads, below `root`."""

    def __init__(self, root):
        self.root = root
        self.output = root / "out/additions.json"
        self.write_facts()
        self.write_initramfs()
        (root / "modloop-lts").write_bytes(STOCK)
        (root / "site.rsa").write_bytes(SITE.private_pem())
        (root / "site.rsa").chmod(0o600)
        (root / "site.rsa.pub").write_bytes(SITE.public_pem())

    def write_facts(self, *, files=OPENSSL, generation="G5"):
        facts = ReleaseFacts(
            release="3.24.0",
            profile="standard",
            arch="x86_64",
            generation=generation,
            is_standin=False,
            volume_id="",
            iso_size_bytes=0,
            iso_sha256="",
            flavors={},
            files=tuple(IsoFile(path=path, type="file", mode=0o644) for path in files),
        )
        (self.root / "facts.json").write_bytes(write_release_facts(facts))

    def write_initramfs(self, *, signature=STOCK_SIGNATURE, keys=(ALPINE,)):
        entries = [directory_entry("etc"), file_entry("init", b"#!/bin/sh\n", mode=0o755)]
        entries += [file_entry(f"etc/apk/keys/{key.name}", key.public_pem()) for key in keys]
        if signature:
            entries.append(file_entry(signature, ALPINE.sign_sha1(STOCK)))
        (self.root / "initramfs").write_bytes(gzip.compress(write_cpio(entries), 1))

    def build(self, *, choice="auto", strict=False, key=False, name="modloop-lts"):
        build_signature(
            modloop=self.root / name,
            initramfs=self.root / "initramfs",
            facts=self.root / "facts.json",
            choice=choice,
            is_strict=strict,
            private_key=self.root / "site.rsa" if key else None,
            public_key=self.root / "site.rsa.pub" if key else None,
            cache=self.root / "cache",
            output=self.output,
        )
        return read_additions(self.output.read_bytes(), subject="x")


@pytest.fixture
def inputs(tmp_path):
    return Inputs(tmp_path)


def change(inputs):
    (inputs.root / "modloop-lts").write_bytes(CHANGED)


@pytest.mark.parametrize("key", [False, True])
def test_a_signature_of_the_release_that_fits_is_kept(inputs, key):
    assert inputs.build(key=key, strict=True) == Additions(choice="kept")


def test_one_that_does_not_fit_is_dropped_without_a_key(inputs):
    change(inputs)
    found = inputs.build()
    assert (found.choice, found.removed, found.files) == ("dropped", (STOCK_SIGNATURE,), ())
    assert found.notes == (
        "modloop-lts is not what the release signed: the signature is left out, and machines "
        "mount it unverified; sign it with signing_key in [modloop]",
    )


def test_it_goes_by_the_name_of_the_modloop(inputs):
    (inputs.root / "modloop-lts").rename(inputs.root / "modloop-other")
    assert inputs.build(name="modloop-other").choice == "dropped"


def test_a_signature_whose_key_is_not_there_says_nothing(inputs):
    inputs.write_initramfs(keys=())
    assert inputs.build().choice == "dropped"


def test_without_any_signature_there_is_nothing_to_say(inputs):
    inputs.write_initramfs(signature=None)
    assert inputs.build() == Additions(choice="dropped")


def test_what_is_signed_openssl_verifies(inputs):
    change(inputs)
    found = inputs.build(key=True)
    assert (found.choice, found.removed) == ("signed", (STOCK_SIGNATURE,))
    assert [(file.path, file.mode) for file in found.files] == [
        ("etc/apk/keys/site.rsa.pub", 0o644),
        ("var/cache/misc/modloop-lts.SIGN.RSA.site.rsa.pub", 0o644),
    ]
    for file in found.files:
        (inputs.root / file.path.rpartition("/")[2]).write_bytes(file.content)
    modloop = inputs.root / "modloop-lts"
    words = ["openssl", "dgst", "-sha1", "-verify", "site.rsa.pub", "-signature"]
    words += [found.files[1].path.rpartition("/")[2], modloop]
    assert run_program(words, cwd=inputs.root).text == "Verified OK\n"
    modloop.write_bytes(CHANGED[:-1] + bytes([CHANGED[-1] ^ 1]))
    run_program(words, cwd=inputs.root, accepted_statuses=(1,))
    # The same key over the same bytes gives the same signature, on any machine.
    change(inputs)
    before = inputs.output.read_bytes()
    inputs.build(key=True)
    assert inputs.output.read_bytes() == before


def test_own_signs_what_the_release_signed_too(inputs):
    assert inputs.build(choice="own", key=True).choice == "signed"


def test_drop_drops_what_fits(inputs):
    found = inputs.build(choice="drop")
    assert (found.choice, found.removed, found.files) == ("dropped", (STOCK_SIGNATURE,), ())


def test_the_private_half_stays_where_it_is(inputs):
    inputs.build(choice="own", key=True)
    secret = SITE.private_pem().split(b"\n")[1]
    for file in [path for path in inputs.root.rglob("*") if path.is_file()]:
        assert (secret in file.read_bytes()) == (file.name == "site.rsa"), file


def refusal(inputs, **options):
    with pytest.raises(BuildError) as caught:
        inputs.build(**options)
    assert not inputs.output.exists()
    return str(caught.value).replace(f"{inputs.root}/", "")


def test_strict_machines_need_a_signature(inputs):
    change(inputs)
    assert refusal(inputs, strict=True) == (
        "modloop-lts: has no signature, and strict machines would not mount it\n"
        '  next: make a key with: doit key; then add to [modloop]: signing_key = "site"'
    )


@pytest.mark.parametrize("options", [{"choice": "own", "key": True}, {"strict": True}])
def test_machines_need_openssl(inputs, options):
    inputs.write_facts(files=["apks/x86_64/openssl-dev-3.5.4-r0.apk", "apks/x86/openssl-3-r0.apk"])
    assert refusal(inputs, **options).startswith(
        "release 3.24.0: its packages lack openssl, which verifies the modloop on machines; "
        "expected apks/x86_64/openssl-<version>.apk\n  next: take an ISO that has it"
    )


@pytest.mark.parametrize("generation", ["G1", "G2", "G2b"])
def test_old_releases_cannot_verify(inputs, generation):
    inputs.write_facts(generation=generation)
    assert "its init knows nothing of modloop signatures" in refusal(inputs, choice="own", key=True)


def test_a_key_of_the_release_is_not_replaced(inputs):
    other = derive_signing_key(name=SITE.name, seed="another key of this name")
    inputs.write_initramfs(keys=(ALPINE, other))
    assert refusal(inputs, choice="own", key=True) == (
        "initramfs: trusts another key by the name site.rsa.pub\n"
        "  next: make a key with a name of its own: doit key --name NAME"
    )


def test_a_key_that_is_no_key_is_told(inputs):
    (inputs.root / "site.rsa").write_text("nonsense")
    with pytest.raises(FormatError, match="is no private key in PEM form"):
        inputs.build(choice="own", key=True)


def test_additions_are_read_as_written():
    additions = Additions(
        choice="signed",
        removed=("a",),
        notes=("n",),
        files=(AddedFile(path="b", content=bytes(range(256)), mode=0o755),),
    )
    assert read_additions(write_additions(additions), subject="x") == additions


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"schema": 2}', b"\xff"])
def test_what_is_no_list_of_additions_is_refused(text):
    with pytest.raises(FormatError, match="no list of files to carry"):
        read_additions(text, subject="x")
