"""Recipes in, a checked site or one clear error out. Whole messages: they are a contract."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from bootsmith.errors import RecipeError
from bootsmith.site.loader import load_site
from bootsmith.site.models import BootSettings, GenerationSettings, Overlay, PxerdSettings
from bootsmith.site.scenarios import SCENARIOS

SITE = """\
schema = 1
name = "lab"
release = "alpine"
flavor = "lts"
"""
RELEASE = """\
iso = "/isos/alpine.iso"
flavors = ["virt", "lts"]
"""
TEMPLATE = """\
summary = "a web server"
overlays = ["base", "web"]
"""
STANDIN = """\
kind = "standin"
lock = "standin.lock"
flavors = ["virt"]
"""
DOWNLOAD = f"""\
url = "https://mirror.example/alpine.iso"
sha256 = "{"a" * 64}"
flavors = ["lts"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small site in which everything is right."""
    files = {
        "recipes/site.toml": SITE,
        "recipes/releases/alpine.toml": RELEASE,
        "recipes/templates/web.toml": TEMPLATE,
        "overlays/web.owners": "",
    }
    files |= {
        f"recipes/features.d/{name}.modules": ""
        for name in ("dhcp", "network", "nfs", "squashfs", "virtio", "usb")
    }
    for directory in ("overlays/base/etc", "overlays/web/etc"):
        (tmp_path / directory).mkdir(parents=True)
    for name, text in files.items():
        write(tmp_path / name, text)
    return tmp_path


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def message_of(root: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        load_site(root)
    return str(caught.value)


# -- what is read ----------------------------------------------------------------------


def test_a_minimal_site_has_every_default(root):
    site = load_site(root)
    assert (site.root, site.name, site.release, site.flavor) == (root, "lab", "alpine", "lts")
    assert site.generation == GenerationSettings(gate="checks", keep=5)
    assert (site.smoke.memory_mebibytes, site.smoke.accel) == (512, "auto")
    assert site.feature_directories == (root / "recipes/features.d",)
    assert site.patch_directories == ()
    base = Overlay(name="base", tree=root / "overlays/base", owners=None)
    web = Overlay(name="web", tree=root / "overlays/web", owners=root / "overlays/web.owners")
    assert site.overlays == {"base": base, "web": web}

    release = site.releases["alpine"]
    assert (release.name, release.kind, release.iso) == (
        "alpine",
        "iso",
        Path("/isos/alpine.iso"),
    )
    assert (release.url, release.sha256, release.lock) == (None, None, None)
    assert release.flavors == ("virt", "lts")
    assert release.pxerd == PxerdSettings(
        features=("dhcp", "network", "nfs", "squashfs", "virtio", "usb"),
        patches=("auto",),
        compression="auto",
        level=None,
    )

    template = site.templates["web"]
    assert (template.name, template.release, template.flavor) == ("web", "alpine", "lts")
    assert (template.hostname, template.packages, template.runlevels) == ("web", (), {})
    assert template.overlays == (base, web)
    assert template.default_boot_services is True
    assert template.boot == BootSettings(
        initramfs="pxerd", options=(), timeout_seconds=1, serial=True
    )
    assert template.usbkey.size_bytes is None
    assert template.usbkey.label == "BOOTSMITH"
    assert template.usbkey.firmware == ("bios", "uefi")


def test_every_key_reaches_its_field(root):
    write(
        root / "recipes/site.toml",
        SITE + '[generation]\ngate = "checks"\nkeep = 9\n'
        '[smoke]\nmemory_mebibytes = 256\naccel = "tcg"\nscenarios = ["key-uefi"]\n',
    )
    write(
        root / "recipes/releases/mirror.toml",
        'name = "far"\n'
        + DOWNLOAD
        + f'sha512 = "{"B" * 128}"\n'
        + 'checksum_url = "https://mirror.example/a.sha256"\n'
        'signature_url = "https://mirror.example/a.asc"\n'
        'keyring = "../alpine.gpg"\n'
        '[pxerd]\nfeatures = ["nfs"]\npatches = []\ncompression = "zstd"\nlevel = 19\n[modloop]\n',
    )
    write(root / "recipes/releases/local.toml", STANDIN)
    write(
        root / "recipes/templates/big.toml",
        'name = "large"\nsummary = "x"\nrelease = "far"\nflavor = "lts"\n'
        'hostname = "n1.example.org"\noverlays = ["web"]\n'
        'packages = ["nginx>=1.26", "!mdev", "edge@testing"]\ndefault_boot_services = false\n'
        '[runlevels]\ndefault = ["nginx"]\nsysinit = ["devfs", "dmesg"]\nboot = []\n'
        '[boot]\ninitramfs = "stock"\noptions = ["quiet", "a=b,c"]\ntimeout_seconds = 0.3\n'
        "serial = false\n"
        '[usbkey]\nsize = "512M"\nlabel = "LAB_1"\nfirmware = ["bios"]\n',
    )
    site = load_site(root)
    assert (site.generation.keep, site.smoke.memory_mebibytes, site.smoke.accel) == (9, 256, "tcg")
    assert site.smoke.scenarios == ("key-uefi",)
    assert list(site.releases) == ["alpine", "far", "local"]
    far = site.releases["far"]
    assert (far.url, far.sha256, far.sha512) == (
        "https://mirror.example/alpine.iso",
        "a" * 64,
        "b" * 128,
    )
    assert (far.checksum_url, far.signature_url) == (
        "https://mirror.example/a.sha256",
        "https://mirror.example/a.asc",
    )
    assert far.keyring == root / "recipes/alpine.gpg"
    assert far.pxerd == PxerdSettings(features=("nfs",), patches=(), compression="zstd", level=19)
    local = site.releases["local"]
    assert (local.kind, local.lock) == ("standin", root / "recipes/releases/standin.lock")
    large = site.templates["large"]
    assert (large.release, large.hostname) == ("far", "n1.example.org")
    assert large.packages == ("nginx>=1.26", "!mdev", "edge@testing")
    assert large.default_boot_services is False
    assert large.runlevels == {"sysinit": ("devfs", "dmesg"), "boot": (), "default": ("nginx",)}
    assert list(large.runlevels) == ["sysinit", "boot", "default"]
    assert large.boot == BootSettings(
        initramfs="stock", options=("quiet", "a=b,c"), timeout_seconds=0.3, serial=False
    )
    assert (large.usbkey.size_bytes, large.usbkey.label) == (512 << 20, "LAB_1")
    assert large.usbkey.firmware == ("bios",)


def test_recipe_files_are_all_that_was_read(root):
    write(root / "recipes/releases/notes.txt", "not a recipe")
    write(root / "recipes/templates/.web.toml", "an editor's half-written file")
    assert load_site(root).recipe_files == (
        root / "recipes/site.toml",
        root / "recipes/releases/alpine.toml",
        root / "recipes/templates/web.toml",
    )


def test_a_site_survives_the_way_to_another_process(root):
    site = load_site(root)
    assert pickle.loads(pickle.dumps(site)) == site


def test_models_are_frozen(root):
    site = load_site(root)
    with pytest.raises(AttributeError, match="Site is frozen: cannot set name"):
        site.name = "other"
    with pytest.raises(AttributeError, match="Site is frozen: cannot delete name"):
        del site.name


def test_models_take_their_own_fields_only():
    with pytest.raises(TypeError, match="BootSettings: missing or unknown fields: speed"):
        BootSettings(speed=1)
    with pytest.raises(TypeError, match="Overlay: missing or unknown fields: owners, tree"):
        Overlay(name="base")


def test_the_same_files_in_any_order_give_the_same_site(root):
    write(root / "recipes/releases/beta.toml", RELEASE)
    write(root / "recipes/releases/Z.toml", 'name = "aaa"\n' + RELEASE)
    assert list(load_site(root).releases) == ["aaa", "alpine", "beta"]


def test_no_iso_and_no_artifact_is_looked_at(root):
    write(root / "recipes/releases/alpine.toml", RELEASE.replace("/isos", "/does/not/exist"))
    assert load_site(root).releases["alpine"].iso == Path("/does/not/exist/alpine.iso")


def test_the_shipped_site_is_right(checkout):
    site = load_site(checkout)
    assert list(site.templates) == ["default", "lxc-repo", "pxeboot"]
    assert site.releases["standin"].flavors == ("virt", "lts")
    stacks = {
        name: [overlay.name for overlay in template.overlays]
        for name, template in site.templates.items()
    }
    assert stacks == {
        "default": ["base", "report", "default"],
        "lxc-repo": ["base", "report", "lxc-repo"],
        "pxeboot": ["base", "report", "pxeboot"],
    }
    for template in site.templates.values():
        # Without `local` the report never runs; DHCP starts on demand only.
        assert "local" in template.runlevels["default"]
        assert "dnsmasq" not in {
            service for services in template.runlevels.values() for service in services
        }


# -- what is refused -------------------------------------------------------------------

S = "recipes/site.toml"
R = "recipes/releases/alpine.toml"
T = "recipes/templates/web.toml"

# Files that differ from a good site (None: removed), and the whole message.
BAD_SITES = [
    pytest.param(
        {S: None},
        (
            "recipes/site.toml: cannot be read: No such file or directory\n"
            "  next: a site has recipes/ and overlays/ at its root; docs/recipes.md "
            "describes them"
        ),
        id="site.toml is missing",
    ),
    pytest.param(
        {T: 'summary = "x"\noverlays = [base]\n'},
        (
            "recipes/templates/web.toml:2:13: not TOML: Invalid value\n"
            "  next: correct the syntax there"
        ),
        id="not TOML",
    ),
    pytest.param(
        {T: 'summary = "x"\noverlays = ["base",\n'},
        (
            "recipes/templates/web.toml:2:20: not TOML: Invalid value\n"
            "  next: correct the syntax there"
        ),
        id="not TOML, at the end",
    ),
    pytest.param(
        {T: b'summary = "x"\nhostname = "\xff"\n'},
        (
            "recipes/templates/web.toml:2: not TOML: not UTF-8; got byte 0xff\n"
            "  next: save the file as UTF-8"
        ),
        id="not UTF-8",
    ),
    pytest.param(
        {T: TEMPLATE + 'summary = "y"\n'},
        (
            "recipes/templates/web.toml:3:14: not TOML: Cannot overwrite a value\n"
            "  next: correct the syntax there"
        ),
        id="a key twice in one file",
    ),
    pytest.param(
        {T: "a = " + "[" * 5000},
        (
            "recipes/templates/web.toml: not TOML: nested too deeply\n"
            "  next: docs/recipes.md describes every key"
        ),
        id="nested without end",
    ),
    pytest.param(
        {T: TEMPLATE + 'flavr = "lts"\n'},
        (
            "recipes/templates/web.toml:3: flavr: unknown key; expected flavor\n"
            "  next: rename it to flavor"
        ),
        id="unknown key, a near one is known",
    ),
    pytest.param(
        {S: SITE + 'colour = "red"\n'},
        (
            "recipes/site.toml:5: colour: unknown key; expected schema, name, release, "
            "flavor, generation, smoke, netboot or publish\n"
            "  next: remove it; docs/recipes.md describes every key"
        ),
        id="unknown key, none is near",
    ),
    pytest.param(
        {T: TEMPLATE + '\n[usbkey]\nlable = "X"\n'},
        (
            "recipes/templates/web.toml:5: usbkey.lable: unknown key; expected label\n"
            "  next: rename it to label"
        ),
        id="unknown key in a table",
    ),
    pytest.param(
        {T: TEMPLATE + '[runlevels]\nboots = ["networking"]\n'},
        (
            "recipes/templates/web.toml:4: runlevels.boots: unknown key; expected boot\n"
            "  next: rename it to boot"
        ),
        id="unknown runlevel",
    ),
    pytest.param(
        {S: SITE.replace('name = "lab"\n', "")},
        (
            "recipes/site.toml: name: missing key; expected a name of lower-case letters, "
            "digits, dots, dashes and underscores\n"
            '  next: add: name = "lab"'
        ),
        id="missing key",
    ),
    pytest.param(
        {T: 'overlays = ["base"]\n'},
        (
            "recipes/templates/web.toml: summary: missing key; expected one line of text, "
            "at most 200 characters\n"
            '  next: add: summary = "what these machines do"'
        ),
        id="missing key of a template",
    ),
    pytest.param(
        {S: SITE + '[generation]\nkeep = "five"\n'},
        (
            "recipes/site.toml:6: generation.keep: wrong type; expected a whole number, "
            'got the text "five"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="text where a number is due",
    ),
    pytest.param(
        {T: TEMPLATE + "hostname = 5\n"},
        (
            "recipes/templates/web.toml:3: hostname: wrong type; expected text, got the "
            "number 5\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a number where text is due",
    ),
    pytest.param(
        {S: SITE + "[generation]\nkeep = true\n"},
        (
            "recipes/site.toml:6: generation.keep: wrong type; expected a whole number, "
            "got true\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="true is no number",
    ),
    pytest.param(
        {R: RELEASE.replace('["virt", "lts"]', '"lts"')},
        (
            "recipes/releases/alpine.toml:2: flavors: wrong type; expected a list of "
            'flavors, got the text "lts"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="one where a list is due",
    ),
    pytest.param(
        {T: TEMPLATE + "boot = []\n"},
        (
            "recipes/templates/web.toml:3: boot: wrong type; expected a table, got a list\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a list where a table is due",
    ),
    pytest.param(
        {T: TEMPLATE + "[hostname]\na = 1\n"},
        (
            "recipes/templates/web.toml:3: hostname: wrong type; expected text, got a table\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a table where text is due",
    ),
    pytest.param(
        {T: TEMPLATE + "hostname = 2024-01-01\n"},
        (
            "recipes/templates/web.toml:3: hostname: wrong type; expected text, got a date "
            "or time\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a date where text is due",
    ),
    pytest.param(
        {T: 'summary = "x"\noverlays = [\n  "base",\n  7,\n]\n'},
        (
            "recipes/templates/web.toml:4: overlays[1]: wrong type; expected text, got the "
            "number 7\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="wrong member of a list",
    ),
    pytest.param(
        {S: SITE + "[generation]\nkeep = 0\n"},
        (
            "recipes/site.toml:6: generation.keep: bad value; expected a whole number from "
            "1 to 1000, got 0\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="number out of bounds",
    ),
    pytest.param(
        {T: TEMPLATE + "[boot]\ntimeout_seconds = nan\n"},
        (
            "recipes/templates/web.toml:4: boot.timeout_seconds: bad value; expected "
            "seconds from 0.1 to 3599.9, in steps of 0.1, got nan\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="number not a number",
    ),
    pytest.param(
        {T: TEMPLATE + "[boot]\ntimeout_seconds = 0\n"},
        (
            "recipes/templates/web.toml:4: boot.timeout_seconds: bad value; expected "
            "seconds from 0.1 to 3599.9, in steps of 0.1, got 0\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="waiting for ever",
    ),
    pytest.param(
        {T: TEMPLATE + "[boot]\ntimeout_seconds = 0.25\n"},
        (
            "recipes/templates/web.toml:4: boot.timeout_seconds: bad value; expected "
            "seconds from 0.1 to 3599.9, in steps of 0.1, got 0.25\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a finer step than boot loaders know",
    ),
    pytest.param(
        {S: SITE.replace("schema = 1", "schema = 2")},
        (
            "recipes/site.toml:1: schema: bad value; expected the number 1, got 2\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a schema of the future",
    ),
    pytest.param(
        {T: TEMPLATE + '[boot]\ninitramfs = "pxe"\n'},
        (
            'recipes/templates/web.toml:4: boot.initramfs: bad value; expected "pxerd" or '
            '"stock", got "pxe"\n'
            '  next: write "pxerd"'
        ),
        id="a word that is no choice",
    ),
    pytest.param(
        {S: SITE + '[generation]\ngate = "none"\n'},
        (
            "recipes/site.toml:6: generation.gate: bad value; "
            'expected "checks" or "boot", got "none"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a gate that does not exist",
    ),
    pytest.param(
        {S: SITE + '[smoke]\nscenarios = ["netboot-two"]\n'},
        (
            "recipes/site.toml:6: smoke.scenarios[0]: no machine boots from the network; "
            'expected a table [netboot], got "netboot-two"\n'
            "  next: add [netboot], or leave the scenario out"
        ),
        id="a boot from a network that is not described",
    ),
    pytest.param(
        {S: SITE + '[smoke]\nscenarios = ["key-uefi", "key-usb"]\n'},
        (
            "recipes/site.toml:6: smoke.scenarios[1]: bad value; "
            f"expected one of {len(SCENARIOS)} names: "
            '"key-usb-bios", "key-usb-beside-disk", "key-virtio-bios", "key-uefi", '
            '"direct-pxerd", "direct-ramroot", "nfs-v4", "nfs-v3", "nfs-http-modloop", '
            '"nfs-key-modloop", "netboot-pxelinux-nfs", "netboot-lpxelinux-http", ..., '
            'got "key-usb"\n'
            '  next: write "key-usb-bios"'
        ),
        id="a scenario that does not exist",
    ),
    pytest.param(
        {S: SITE.replace('"lts"', '"virt"') + '[smoke]\nscenarios = ["key-usb-bios"]\n'},
        (
            "recipes/site.toml:6: smoke.scenarios[0]: no template can be booted so; expected a "
            "template with a key for bios and a kernel for hardware (flavor lts), "
            'got "key-usb-bios"\n'
            "  next: make a template so, or leave the scenario out"
        ),
        id="a scenario that no template is fit for",
    ),
    pytest.param(
        {S: SITE + '[smoke]\nscenarios = ["direct-ramroot"]\n'},
        (
            "recipes/site.toml:6: smoke.scenarios[0]: no image can be booted so; "
            'expected a recipe in recipes/images, got "direct-ramroot"\n'
            "  next: add an image, or leave the scenario out"
        ),
        id="a scenario for an image that is not there",
    ),
    pytest.param(
        {
            S: SITE + '[smoke]\nscenarios = ["nfs-v4"]\n',
            "recipes/releases/alpine.toml": RELEASE + '[pxerd]\nfeatures = ["usb"]\n',
        },
        (
            "recipes/site.toml:6: smoke.scenarios[0]: no template can be booted so; expected a "
            'template with a release whose pxerd has the feature nfs, got "nfs-v4"\n'
            "  next: make a template so, or leave the scenario out"
        ),
        id="a scenario that no pxerd is fit for",
    ),
    pytest.param(
        {S: SITE.replace('"alpine"', '"alpin"')},
        (
            "recipes/site.toml:3: release: there is no such release; expected alpine, got "
            '"alpin"\n'
            '  next: write "alpine", or add recipes/releases/alpin.toml'
        ),
        id="unknown release",
    ),
    pytest.param(
        {T: TEMPLATE + 'release = "debian"\n'},
        (
            "recipes/templates/web.toml:3: release: there is no such release; expected "
            'alpine, got "debian"\n'
            "  next: add recipes/releases/debian.toml"
        ),
        id="unknown release of a template",
    ),
    pytest.param(
        {T: TEMPLATE + 'flavor = "ltss"\n'},
        (
            "recipes/templates/web.toml:3: flavor: release alpine has no such flavor; "
            'expected lts or virt, got "ltss"\n'
            '  next: write "lts", or add it to the flavors of alpine'
        ),
        id="unknown flavor",
    ),
    pytest.param(
        {"recipes/releases/local.toml": STANDIN, T: TEMPLATE + 'release = "local"\n'},
        (
            "recipes/templates/web.toml: flavor: release local has no such flavor; "
            'expected virt, got "lts"\n'
            "  next: add it to the flavors of local"
        ),
        id="flavor of the site that a template's release lacks",
    ),
    pytest.param(
        {R: RELEASE + '[pxerd]\nfeatures = [\n  "dhcp",\n  "nsf",\n]\n'},
        (
            "recipes/releases/alpine.toml:6: pxerd.features[1]: there is no such feature; "
            'expected dhcp, network, nfs, squashfs, usb or virtio, got "nsf"\n'
            '  next: write "nfs", or add recipes/features.d/nsf.modules or .files'
        ),
        id="unknown feature",
    ),
    pytest.param(
        {
            R: RELEASE + '[pxerd]\npatches = ["auto", "nfs-medum"]\n',
            "recipes/patches/nfs-medium.toml": "",
        },
        (
            "recipes/releases/alpine.toml:4: pxerd.patches[1]: there is no such patch; "
            'expected auto or nfs-medium, got "nfs-medum"\n'
            '  next: write "nfs-medium", or add recipes/patches/nfs-medum.toml'
        ),
        id="unknown patch",
    ),
    pytest.param(
        {T: TEMPLATE.replace('"web"', '"wbe"')},
        (
            "recipes/templates/web.toml:2: overlays[1]: there is no such overlay; expected "
            'base or web, got "wbe"\n'
            '  next: write "web", or add the directory overlays/wbe'
        ),
        id="unknown overlay",
    ),
    pytest.param(
        {T: None},
        (
            "recipes/templates: holds no recipe; expected one or more files NAME.toml\n"
            "  next: add one; docs/recipes.md describes its keys"
        ),
        id="no template",
    ),
    pytest.param(
        {R: DOWNLOAD.replace("a" * 64, "abc")},
        (
            "recipes/releases/alpine.toml:2: sha256: bad value; expected 64 hexadecimal "
            'digits, got "abc"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="sha256 too short",
    ),
    pytest.param(
        {R: DOWNLOAD.replace("a" * 64, "x" * 64)},
        (
            "recipes/releases/alpine.toml:2: sha256: bad value; expected 64 hexadecimal "
            'digits, got "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="sha256 not hexadecimal",
    ),
    pytest.param(
        {R: 'url = "https://mirror.example/alpine.iso"\nflavors = ["lts"]\n'},
        (
            "recipes/releases/alpine.toml:1: url: a download needs a digest to be checked "
            "against; expected sha256 or sha512\n"
            "  next: copy it from the .sha256 or .sha512 file beside the ISO on Alpine's site"
        ),
        id="download without a digest",
    ),
    pytest.param(
        {R: DOWNLOAD + 'signature_url = "https://mirror.example/a.asc"\n'},
        (
            "recipes/releases/alpine.toml:4: signature_url: is of no use without keyring\n"
            "  next: add: keyring = ..."
        ),
        id="signature without keyring",
    ),
    pytest.param(
        {R: RELEASE + 'checksum_url = "https://mirror.example/a"\n'},
        (
            "recipes/releases/alpine.toml:3: checksum_url: is of no use with iso; it goes "
            "with url\n"
            "  next: remove one of the two"
        ),
        id="checksum file for a local ISO",
    ),
    pytest.param(
        {R: DOWNLOAD.replace("https://mirror", "ftp://mirror")},
        (
            "recipes/releases/alpine.toml:1: url: bad value; expected an http:// or "
            'https:// URL of a file, got "ftp://mirror.example/alpine.iso"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="not a URL",
    ),
    pytest.param(
        {R: 'flavors = ["lts"]\n'},
        (
            "recipes/releases/alpine.toml: says neither iso nor url; expected exactly one "
            'of iso = "...", url = "..." or kind = "standin"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="neither iso nor url",
    ),
    pytest.param(
        {R: RELEASE + 'url = "https://mirror.example/a.iso"\n'},
        (
            "recipes/releases/alpine.toml: says both iso and url; expected exactly one of "
            'iso = "...", url = "..." or kind = "standin"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="both iso and url",
    ),
    pytest.param(
        {R: STANDIN.replace('["virt"]', '["virt", "lts"]') + 'iso = "a.iso"\n'},
        (
            'recipes/releases/alpine.toml:4: iso: is of no use with kind = "standin"\n'
            "  next: remove one of the two"
        ),
        id="stand-in with an iso",
    ),
    pytest.param(
        {R: STANDIN.replace('lock = "standin.lock"\n', "")},
        (
            "recipes/releases/alpine.toml: lock: missing key; expected a file name without "
            "a directory\n"
            '  next: add: lock = "alpine.lock"'
        ),
        id="stand-in without lock",
    ),
    pytest.param(
        {R: RELEASE + 'lock = "a.lock"\n'},
        (
            'recipes/releases/alpine.toml:3: lock: is of no use with kind = "iso"\n'
            "  next: remove one of the two"
        ),
        id="lock of a real release",
    ),
    pytest.param(
        {R: STANDIN.replace('"standin.lock"', '"../standin.lock"')},
        (
            "recipes/releases/alpine.toml:2: lock: leads out of the recipe's directory; "
            'expected a file name without a directory, got "../standin.lock"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="lock outside the recipe's directory",
    ),
    pytest.param(
        {"recipes/releases/beta.toml": 'name = "alpine"\n' + RELEASE},
        (
            "recipes/releases/beta.toml:1: name: two releases are called alpine; got the "
            "other one in recipes/releases/alpine.toml\n"
            '  next: give one of them another name with: name = "..."'
        ),
        id="two releases of one name",
    ),
    pytest.param(
        {"recipes/releases/A.toml": 'name = "alpine"\n' + RELEASE},
        (
            "recipes/releases/alpine.toml: name: two releases are called alpine; got the "
            "other one in recipes/releases/A.toml\n"
            '  next: give one of them another name with: name = "..."'
        ),
        id="two releases of one name, the second by its file",
    ),
    pytest.param(
        {"recipes/templates/zweb.toml": 'name = "web"\n' + TEMPLATE},
        (
            "recipes/templates/zweb.toml:1: name: two templates are called web; got the "
            "other one in recipes/templates/web.toml\n"
            '  next: give one of them another name with: name = "..."'
        ),
        id="two templates of one name",
    ),
    pytest.param(
        {"recipes/releases/Alpine.toml": RELEASE},
        (
            "recipes/releases/Alpine.toml: the file's name does not make a good name; "
            "expected a name of lower-case letters, digits, dots, dashes and underscores, "
            "got Alpine\n"
            '  next: rename the file, or say in it: name = "..."'
        ),
        id="a file name that is no name",
    ),
    pytest.param(
        {R: 'name = "a/b"\n' + RELEASE},
        (
            "recipes/releases/alpine.toml:1: name: bad value; expected a name of "
            'lower-case letters, digits, dots, dashes and underscores, got "a/b"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a name with a slash",
    ),
    pytest.param(
        {S: SITE.replace('"lab"', '"Lab"')},
        (
            "recipes/site.toml:2: name: bad value; expected a name of lower-case letters, "
            'digits, dots, dashes and underscores, got "Lab"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a name with upper case",
    ),
    pytest.param(
        {T: TEMPLATE.replace('"web"', '"../web"')},
        (
            "recipes/templates/web.toml:2: overlays[1]: bad value; expected a name of "
            'lower-case letters, digits, dots, dashes and underscores, got "../web"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a name that climbs",
    ),
    pytest.param(
        {R: RELEASE.replace('"virt"', '"virt-x"')},
        (
            "recipes/releases/alpine.toml:2: flavors[0]: bad value; expected a flavor like "
            '"lts": lower-case letters and digits, got "virt-x"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a flavor with a dash",
    ),
    pytest.param(
        {R: 'iso = "a.iso"\nflavors = []\n'},
        (
            "recipes/releases/alpine.toml:2: flavors: empty list; expected a list of one "
            "or more flavors\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="empty list",
    ),
    pytest.param(
        {R: RELEASE + "[pxerd]\nfeatures = []\n"},
        (
            "recipes/releases/alpine.toml:4: pxerd.features: empty list; expected a list "
            "of one or more features\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="empty list of features",
    ),
    pytest.param(
        {R: RELEASE.replace('"/isos/alpine.iso"', '""')},
        (
            "recipes/releases/alpine.toml:1: iso: bad value; expected a path, absolute or "
            'relative to this recipe\'s directory, got ""\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="empty path",
    ),
    pytest.param(
        {T: TEMPLATE + '[usbkey]\nsize = "512"\n'},
        (
            "recipes/templates/web.toml:4: usbkey.size: bad value; expected a size like "
            '"512M" or "2G", or "auto", got "512"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="size without a unit",
    ),
    pytest.param(
        {T: TEMPLATE + "[usbkey]\nsize = 512\n"},
        (
            "recipes/templates/web.toml:4: usbkey.size: wrong type; expected a size like "
            '"512M" or "2G", or "auto", got the number 512\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="size as a number",
    ),
    pytest.param(
        {T: TEMPLATE + '[usbkey]\nsize = "512MB"\n'},
        (
            "recipes/templates/web.toml:4: usbkey.size: bad value; expected a size like "
            '"512M" or "2G", or "auto", got "512MB"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="size in an unknown unit",
    ),
    pytest.param(
        {T: TEMPLATE + '[usbkey]\nlabel = "BOOTSMITH-KEY"\n'},
        (
            "recipes/templates/web.toml:4: usbkey.label: bad value; expected 1 to 11 "
            'upper-case letters, digits, dashes or underscores, got "BOOTSMITH-KEY"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="label too long",
    ),
    pytest.param(
        {T: TEMPLATE + '[usbkey]\nfirmware = ["efi"]\n'},
        (
            'recipes/templates/web.toml:4: usbkey.firmware[0]: bad value; expected "bios" '
            'or "uefi", got "efi"\n'
            '  next: write "uefi"'
        ),
        id="unknown firmware",
    ),
    pytest.param(
        {T: TEMPLATE + 'packages = ["nginx", "nginx"]\n'},
        (
            "recipes/templates/web.toml:3: packages[1]: named twice; expected each of the "
            'packages once, got "nginx"\n'
            "  next: remove one of the two"
        ),
        id="a package twice",
    ),
    pytest.param(
        {T: TEMPLATE + 'packages = [\n  "nginx>1.26",\n  "dropbear",\n  "nginx",\n]\n'},
        (
            "recipes/templates/web.toml:6: packages[2]: named twice; expected each of the "
            "packages once, got nginx>1.26 and nginx\n"
            "  next: remove one of the two"
        ),
        id="a package twice, with another version",
    ),
    pytest.param(
        {T: TEMPLATE + 'packages = ["nginx 1.26"]\n'},
        (
            "recipes/templates/web.toml:3: packages[0]: bad value; expected a package as "
            'apk takes it, like "nginx", "nginx>1.26" or "!mdev", got "nginx 1.26"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a package with a blank",
    ),
    pytest.param(
        {T: TEMPLATE + 'packages = ["nginx>"]\n'},
        (
            "recipes/templates/web.toml:3: packages[0]: bad value; expected a package as "
            'apk takes it, like "nginx", "nginx>1.26" or "!mdev", got "nginx>"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a package without a version behind its operator",
    ),
    pytest.param(
        {T: TEMPLATE.replace('"web"', '"base"')},
        (
            "recipes/templates/web.toml:2: overlays[1]: named twice; expected each of the "
            'overlays once, got "base"\n'
            "  next: remove one of the two"
        ),
        id="an overlay twice",
    ),
    pytest.param(
        {T: TEMPLATE + '[runlevels]\ndefault = ["../etc"]\n'},
        (
            "recipes/templates/web.toml:4: runlevels.default[0]: bad value; expected the "
            'name of an OpenRC service, got "../etc"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a service with a slash",
    ),
    pytest.param(
        {T: TEMPLATE + '[boot]\noptions = ["a b"]\n'},
        (
            "recipes/templates/web.toml:4: boot.options[0]: bad value; expected one word "
            'of printable ASCII, without blanks or quotes, got "a b"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a kernel word with a blank",
    ),
    pytest.param(
        {T: TEMPLATE + 'hostname = "web_1"\n'},
        (
            "recipes/templates/web.toml:3: hostname: bad value; expected a host name of "
            'lower-case letters, digits, inner dashes and dots, got "web_1"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a host name with an underscore",
    ),
    pytest.param(
        {"recipes/templates/web_1.toml": TEMPLATE},
        (
            "recipes/templates/web_1.toml: hostname: missing key, since the template's "
            "name is not a host name; expected a host name of lower-case letters, digits, "
            "inner dashes and dots, got web_1\n"
            '  next: add: hostname = "..."'
        ),
        id="a template name that is no host name",
    ),
    pytest.param(
        {T: TEMPLATE.replace('"a web server"', '"a\\nb"')},
        (
            "recipes/templates/web.toml:1: summary: bad value; expected one line of text, "
            'at most 200 characters, got "a\\nb"\n'
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="a summary over two lines",
    ),
    pytest.param(
        {R: RELEASE + "[pxerd]\nlevel = 3\n"},
        (
            "recipes/releases/alpine.toml:4: pxerd.level: is of no use with compression = "
            '"auto"\n'
            '  next: name a codec: compression = "gzip", "xz" or "zstd"'
        ),
        id="compression level without a codec",
    ),
    pytest.param(
        {R: RELEASE + '[pxerd]\ncompression = "xz"\nlevel = 12\n'},
        (
            "recipes/releases/alpine.toml:5: pxerd.level: xz has no such level; expected a "
            "whole number from 0 to 9, got 12\n"
            "  next: correct it; docs/recipes.md describes every key"
        ),
        id="compression level that the codec lacks",
    ),
    pytest.param(
        {"overlays/wbe.owners": ""},
        (
            "overlays/wbe.owners: an ownership file without its overlay; expected a "
            "directory overlays/wbe\n"
            "  next: rename or remove the one that is left over"
        ),
        id="ownership file without its overlay",
    ),
]


@pytest.mark.parametrize("files, message", BAD_SITES)
def test_errors_say_where_what_and_what_next(root, files, message):
    for name, text in files.items():
        if text is None:
            (root / name).unlink()
        else:
            write(root / name, text)
    assert message_of(root) == message


def test_a_recipe_that_is_a_directory(root):
    (root / R).unlink()
    (root / R).mkdir()
    assert message_of(root) == (
        "recipes/releases/alpine.toml: cannot be read: Is a directory\n"
        "  next: a site has recipes/ and overlays/ at its root; docs/recipes.md describes them"
    )


def test_a_recipe_of_many_megabytes_is_not_parsed(root):
    write(root / T, b"#" * ((16 << 20) + 1))
    assert message_of(root) == (
        "recipes/templates/web.toml: too large for a recipe; expected at most 16 MiB\n"
        "  next: docs/recipes.md describes every key"
    )


def test_a_root_that_is_no_site(tmp_path):
    assert message_of(tmp_path / "nowhere").startswith(
        "recipes/site.toml: cannot be read: No such file or directory\n"
    )
