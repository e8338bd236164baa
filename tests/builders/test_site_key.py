"""`doit key`: one key pair, made once; and every private half that is no good is refused."""

from __future__ import annotations

import stat

import pytest

from bootsmith.builders.site_key import make_key
from bootsmith.errors import BootsmithError, FormatError, RecipeError, SourceError
from bootsmith.files.signing_keys import read_key_pair
from bootsmith.formats.signing_key import SigningKey, derive_signing_key
from bootsmith.tools.run import run_program

KEY = derive_signing_key(name="site.rsa.pub", seed="a key of tests")


def make(directory, name="site", bits=2048):
    said: list[str] = []
    make_key(directory=directory, name=name, bits=bits, say=said.append)
    return said


@pytest.fixture
def pair(tmp_path):
    """A good pair without the time it takes to make one."""
    private, public = tmp_path / "site.rsa", tmp_path / "site.rsa.pub"
    private.write_bytes(KEY.private_pem())
    private.chmod(0o600)
    public.write_bytes(KEY.public_pem())
    return private, public


def openssl(*words):
    return run_program(["openssl", *words]).text


def test_a_pair_is_made_that_openssl_takes(tmp_path):
    keys = tmp_path / "recipes/keys"
    said = make(keys)
    private, public = keys / "site.rsa", keys / "site.rsa.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644
    assert private.stat().st_nlink == 1
    assert sorted(path.name for path in keys.iterdir()) == [
        ".gitignore",
        "site.rsa",
        "site.rsa.pub",
    ]
    assert openssl("rsa", "-in", private, "-pubout") == public.read_text()
    assert "2048 bit" in openssl("rsa", "-in", private, "-noout", "-text")
    assert read_key_pair(private, public).name == "site.rsa.pub"
    assert said[2] == 'sign with it: signing_key = "site" in [modloop] of a release recipe'
    assert not any("BEGIN" in line for line in said)


def test_git_is_told_to_ignore_private_halves(tmp_path):
    ignore = tmp_path / "recipes/keys/.gitignore"
    ignore.parent.mkdir(parents=True)
    ignore.write_text("old\n")
    make(ignore.parent)
    make(ignore.parent, "other")
    assert ignore.read_text() == "old\n*.rsa\n"


def test_no_key_is_written_over(pair, tmp_path):
    with pytest.raises(RecipeError, match=r"site\.rsa: is there already") as caught:
        make(tmp_path)
    assert caught.value.hint == "give the new key another name: doit key --name NAME"
    pair[0].unlink()
    with pytest.raises(RecipeError, match=r"site\.rsa\.pub: is there already"):
        make(tmp_path)
    assert not pair[0].exists()
    assert pair[1].read_bytes() == KEY.public_pem()


def test_a_lost_public_half_is_written_again(pair, tmp_path):
    pair[1].unlink()
    assert make(tmp_path) == [f"wrote site.rsa.pub again, the public half of {pair[0]}"]
    assert pair[1].read_bytes() == KEY.public_pem()
    assert pair[0].read_bytes() == KEY.private_pem()


@pytest.mark.parametrize(
    "options,problem",
    [
        ({"name": "../x"}, "doit key --name: is no name for a key"),
        ({"name": ""}, "doit key --name: is no name for a key"),
        ({"bits": 1024}, "a multiple of 256 from 2048 to 8192, got 1024"),
        ({"bits": 2050}, "a multiple of 256 from 2048 to 8192, got 2050"),
        ({"bits": 16384}, "a multiple of 256 from 2048 to 8192, got 16384"),
    ],
)
def test_what_makes_no_key_is_refused(tmp_path, options, problem):
    with pytest.raises(RecipeError, match=problem):
        make(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_pkcs1_is_read_as_well(pair):
    private, public = pair
    private.write_text(openssl("rsa", "-in", private, "-traditional"))
    assert b"RSA PRIVATE KEY" in private.read_bytes()
    assert read_key_pair(private, public) == KEY


def damage_private(*argv):
    def change(private, public):
        private.write_text(openssl(*(private if word == "KEY" else word for word in argv)))

    return change


BAD = {
    "encrypted": (
        damage_private("rsa", "-aes128", "-passout", "pass:x", "-in", "KEY"),
        FormatError,
        "site.rsa: private key is encrypted, and a build asks nobody for a password",
    ),
    "another kind": (
        damage_private("genpkey", "-algorithm", "ed25519"),
        FormatError,
        "site.rsa: is a key of another kind; expected RSA, got Ed25519",
    ),
    "short": (
        damage_private("genrsa", "1024"),
        FormatError,
        "site.rsa: is no key to sign with; expected 2048 bits or more, public exponent 65537, "
        "got 1024 bits, 65537",
    ),
    "another exponent": (
        damage_private("genrsa", "-3", "2048"),
        FormatError,
        "got 2048 bits, 3",
    ),
    "the public half": (
        lambda private, public: private.write_bytes(public.read_bytes()),
        FormatError,
        "site.rsa: is no private key in PEM form; expected -----BEGIN PRIVATE KEY-----",
    ),
    "empty": (
        lambda private, public: private.write_bytes(b""),
        FormatError,
        "site.rsa: is no private key in PEM form",
    ),
    "huge": (
        lambda private, public: private.write_bytes(bytes(1 << 20)),
        SourceError,
        "site.rsa: is too long for a key",
    ),
    "a directory": (
        lambda private, public: (private.unlink(), private.mkdir(mode=0o700)),
        SourceError,
        "site.rsa: key cannot be read (Is a directory)",
    ),
    "gone": (
        lambda private, public: private.unlink(),
        SourceError,
        "site.rsa: private key is not here",
    ),
    "readable to all": (
        lambda private, public: private.chmod(0o644),
        SourceError,
        "site.rsa: private key is open to other users; expected mode 0600, got mode 0644",
    ),
    "without public half": (
        lambda private, public: public.unlink(),
        SourceError,
        "site.rsa.pub: public half is missing\n  next: write it again: doit key --name site",
    ),
    "with another public half": (
        lambda private, public: public.write_bytes(
            derive_signing_key(name="x", seed="another").public_pem()
        ),
        SourceError,
        "site.rsa.pub: is not the public half of site.rsa",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_pair_is_refused(pair, case):
    change, error, message = BAD[case]
    change(*pair)
    with pytest.raises(BootsmithError) as caught:
        read_key_pair(*pair)
    assert type(caught.value) is error
    assert message in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_traceback_does_not_tell_the_key():
    assert str(KEY.prime_p) not in repr(KEY)
    assert repr(SigningKey(name="x", prime_p=3, prime_q=5)) == "SigningKey(name='x')"
