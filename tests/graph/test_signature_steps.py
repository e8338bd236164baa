"""Signed modloops on a real tiny site: what is done again, what keys boot with, what is secret."""

from __future__ import annotations

import shutil

import pytest
from mutation_site import Disc, write_site

from bootsmith.errors import BootsmithError
from bootsmith.formats.additions import read_additions
from bootsmith.formats.signing_key import derive_signing_key

RELEASE = "recipes/releases/tiny.toml"
DROP = '\n[modloop]\ndrop = ["kernel/fs/ext4"]\n'
SIGNED = f'{DROP}signing_key = "site"\n'


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    directory = tmp_path_factory.mktemp("signed")
    (directory / "site").mkdir()
    disc = Disc(directory / "disc")
    disc.put("apks/x86_64/openssl-3.3.2-r0.apk", b"program")
    return write_site(directory / "site", disc)


@pytest.fixture
def site(blank):
    recipe = blank.path(RELEASE).read_text()
    yield blank
    blank.path(RELEASE).write_text(recipe)
    shutil.rmtree(blank.path("artifacts"), ignore_errors=True)
    shutil.rmtree(blank.path("recipes/keys"), ignore_errors=True)


def recipe(site, text):
    path = site.path(RELEASE)
    path.write_text(path.read_text().split("\n[modloop]")[0] + text)


def put_key(site, seed, name="site"):
    key = derive_signing_key(name=f"{name}.rsa.pub", seed=seed)
    private = site.path(f"recipes/keys/{name}.rsa")
    private.parent.mkdir(exist_ok=True)
    private.write_bytes(key.private_pem())
    private.chmod(0o600)
    private.with_name(key.name).write_bytes(key.public_pem())
    return key


def choice(site, boot_set="tiny-lts"):
    path = site.path(f"artifacts/build/signature/{boot_set}/additions.json")
    return read_additions(path.read_bytes(), subject=path).choice


def is_on_key(site, text, template="beta"):
    image = site.path(f"artifacts/build/usbkey/{template}/{template}.img").read_bytes()
    return text.encode() in image


def test_an_unchanged_modloop_has_no_such_steps(site):
    assert {label.partition(":")[0] for label in site.stale()}.isdisjoint({"signature", "service"})
    recipe(site, DROP)
    assert {label for label in site.stale() if label.startswith("signature")} == {
        "signature:tiny-virt",
        "signature:tiny-lts",
    }


def test_another_key_makes_no_other_modloop(site):
    recipe(site, SIGNED)
    put_key(site, "first")
    site.run()
    assert choice(site) == "signed"
    assert site.run() == set()
    put_key(site, "second")
    done = site.run()
    assert {"signature:tiny-lts", "pxerd:tiny-lts", "usbkey:beta"} <= done
    assert not {label for label in done if label.startswith(("modloop", "apkovl", "flavor"))}


def test_the_private_half_is_in_nothing_that_was_made(site):
    recipe(site, SIGNED)
    key = put_key(site, "secret")
    site.run()
    numbers = (key.prime_p, key.prime_q)
    secrets = [line for line in key.private_pem().split(b"\n") if len(line) == 64]
    secrets += [number.to_bytes(128, order) for number in numbers for order in ("big", "little")]
    secrets += [str(number).encode() for number in numbers]
    files = [path for path in site.path("artifacts").rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret in content], path
    # The same search finds it where it is.
    private = site.path("recipes/keys/site.rsa").read_bytes()
    assert [secret for secret in secrets if secret in private]


def test_without_a_key_the_signature_is_dropped(site):
    recipe(site, DROP)
    site.run()
    assert choice(site) == "dropped"
    assert not is_on_key(site, "modloop_verify")


def test_unverified_keys_boot_with_the_word(site):
    recipe(site, f'{DROP}signature = "unverified"\n')
    site.run()
    for template in ("alpha", "beta"):
        assert is_on_key(site, "modloop_verify=no", template)
    assert not site.path("artifacts/build/signature").exists()


def test_stock_initramfs_boot_a_changed_modloop_with_the_word(site):
    recipe(site, SIGNED)
    put_key(site, "first")
    template = site.path("recipes/templates/beta.toml")
    text = template.read_text()
    template.write_text(text + '\n[boot]\ninitramfs = "stock"\n')
    try:
        site.run()
    finally:
        template.write_text(text)
    assert is_on_key(site, "modloop_verify=no", "beta")
    assert not is_on_key(site, "modloop_verify=no", "alpha")


def test_a_renamed_modloop_is_on_the_key_by_that_name(site):
    recipe(site, f'{DROP}signature = "rename"\n')
    site.run()  # the gate compares it with the generation's own
    current = site.path("artifacts/current")
    assert (current / "modloop/tiny-lts/modloop-lts-changed").exists()
    contents = (current / "usbkey/beta/contents.json").read_text()
    assert '"boot/modloop-lts-changed"' in contents
    assert '"boot/modloop-lts"' not in contents


@pytest.mark.parametrize("missing", ["site.rsa", "site.rsa.pub"])
def test_a_key_that_is_not_there_is_asked_for(site, missing):
    recipe(site, SIGNED)
    put_key(site, "first")
    site.path(f"recipes/keys/{missing}").unlink()
    with pytest.raises(BootsmithError) as caught:
        site.run()
    assert f"recipes/keys/{missing}" in str(caught.value)
    assert caught.value.hint == (
        "copy it there from where it is kept, or make it: doit key --name site"
    )
