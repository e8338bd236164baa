"""Signatures made by gpg, checked by gpgv against one keyring."""

from __future__ import annotations

import subprocess

import pytest

from bootsmith.errors import FormatError, SourceError
from bootsmith.tools.gpgv import binary_keyring, check_signature


def gpg(home, *arguments, stdin=None):
    return subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback",
         "--passphrase", "", "--faked-system-time", "20260101T000000!", *arguments],
        input=stdin, check=True, capture_output=True,
    ).stdout  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A private GnuPG home with a key that stays good and one that expires at once."""
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    gpg(home, "--quick-generate-key", "signer@example.org", "ed25519", "sign", "never")
    gpg(home, "--quick-generate-key", "other@example.org", "ed25519", "sign", "never")
    gpg(home, "--quick-generate-key", "old@example.org", "ed25519", "sign", "seconds=60")
    yield home
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


@pytest.fixture
def iso(tmp_path):
    (tmp_path / "x.iso").write_bytes(b"content of an ISO" * 1000)
    return tmp_path / "x.iso"


def sign(home, iso, who, *options):
    return gpg(home, *options, "--local-user", who, "--detach-sign", "-o", "-", iso)


def keyring(home, path, who, *options):
    path.write_bytes(gpg(home, *options, "--export", who))
    return path


@pytest.mark.parametrize("signature_form", [[], ["--armor"]])
@pytest.mark.parametrize("keyring_form", [[], ["--armor"]])
def test_a_good_signature_by_a_key_of_the_keyring(
    home, iso, tmp_path, signature_form, keyring_form
):
    ring = keyring(home, tmp_path / "keys", "signer@example.org", *keyring_form)
    signature = sign(home, iso, "signer@example.org", *signature_form)
    key = check_signature(data=iso, signature=signature, keyring=ring, subject="url")
    assert key in gpg(home, "--list-keys", "--with-colons", "signer@example.org").decode()


def test_an_armored_keyring_of_several_blocks(home, iso, tmp_path):
    blocks = [
        gpg(home, "--armor", "--export", who) for who in ("other@example.org", "signer@example.org")
    ]
    (tmp_path / "keys").write_bytes(b"".join(blocks).replace(b"\n", b"\r\n"))
    signature = sign(home, iso, "signer@example.org")
    assert check_signature(data=iso, signature=signature, keyring=tmp_path / "keys", subject="url")


def refused(home, iso, tmp_path, signature, who="signer@example.org"):
    ring = keyring(home, tmp_path / "keys", who)
    with pytest.raises(SourceError) as caught:
        check_signature(data=iso, signature=signature, keyring=ring, subject="http://x/x.iso")
    assert caught.value.hint == (
        "check signature_url and keyring in the release's recipe; do not use this ISO"
    )
    start = f"http://x/x.iso: signature is not good; expected one by a key in {ring}, got "
    assert caught.value.message.startswith(start)
    return caught.value.message.removeprefix(start)


def test_a_signature_of_other_content(home, iso, tmp_path):
    signature = sign(home, iso, "signer@example.org")
    iso.write_bytes(iso.read_bytes() + b".")
    assert refused(home, iso, tmp_path, signature).startswith(
        "the signature is of other content (BADSIG "
    )


def test_a_signature_by_a_key_that_is_not_trusted(home, iso, tmp_path):
    signature = sign(home, iso, "other@example.org")
    assert refused(home, iso, tmp_path, signature).startswith(
        "it was signed by a key that is not in the keyring (NO_PUBKEY "
    )


def test_a_signature_by_a_key_that_expired(home, iso, tmp_path):
    signature = sign(home, iso, "old@example.org")
    assert refused(home, iso, tmp_path, signature, "old@example.org").startswith(
        "the key that signed it has expired (EXPKEYSIG "
    )


@pytest.mark.parametrize("signature", [b"", b"<html>404</html>", b"\0" * 100])
def test_something_else_is_no_signature(home, iso, tmp_path, signature):
    assert "the signature file holds no signature" in refused(home, iso, tmp_path, signature) or (
        "no answer from gpgv" in refused(home, iso, tmp_path, signature)
    )


def test_a_keyring_that_is_not_there(iso, tmp_path):
    with pytest.raises(SourceError) as caught:
        check_signature(data=iso, signature=b"", keyring=tmp_path / "none", subject="url")
    assert str(caught.value) == (
        f"{tmp_path}/none: keyring cannot be read (No such file or directory)\n"
        "  next: correct keyring in the release's recipe"
    )


def test_an_armor_that_is_damaged(tmp_path):
    (tmp_path / "keys").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nab=c\n")
    with pytest.raises(FormatError, match="damaged armor in the keyring"):
        binary_keyring(tmp_path / "keys")
