"""Recipes of installers: whole messages, and the steps that follow from them."""

from __future__ import annotations

import pytest

from bootsmith.errors import RecipeError
from bootsmith.formats import installer as published
from bootsmith.graph.layout import Layout
from bootsmith.graph.plan_installer import plan_installer
from bootsmith.graph.step import Input
from bootsmith.site import netboot
from bootsmith.site.loader import load_site

NETBOOT = (
    '[netboot]\nserver = "10.20.0.1"\nsubnet = "10.20.0.0/16"\ninterface = "eth1"\n'
    'domain = "boot.example"\ntemplate = "t"\n'
)
FILES = {
    "recipes/site.toml": 'schema = 1\nname = "lab"\nrelease = "r"\nflavor = "lts"\n' + NETBOOT,
    "recipes/hosts.toml": "",
    "recipes/releases/r.toml": 'iso = "r.iso"\nflavors = ["lts"]\n[pxerd]\nfeatures = ["dhcp"]\n',
    "recipes/templates/t.toml": 'summary = "t"\noverlays = ["o"]\n',
    "recipes/features.d/dhcp.modules": "",
    "overlays/o/etc/motd": "",
}
INSTALLER = 'summary = "Debian"\nkernel = "/boot/linux"\ninitrd = "debian/initrd.gz"\n'


@pytest.fixture
def site(tmp_path):
    """A function that loads a small site with this text as recipes/installers/debian.toml."""

    def load(text, *, without_netboot=False):
        for path, content in FILES.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(
                content.replace(NETBOOT, "") if without_netboot else content
            )
        (tmp_path / "recipes/installers").mkdir()
        (tmp_path / "recipes/installers/debian.toml").write_text(text)
        return load_site(tmp_path)

    return load


def test_files_of_this_machine(site):
    loaded = site(INSTALLER + 'options = ["url=@url@/p.cfg"]\nfiles = ["debian/p.cfg"]\n')
    layout = Layout(loaded.root)
    (step,) = plan_installer(loaded, layout)
    assert step.label == "installer:debian"
    assert step.summary == "installer debian: Debian"
    recipes = loaded.root / "recipes/installers"
    assert step.arguments["kernel"] == Input(step.inputs[0])
    assert [str(path) for path in step.inputs] == [
        "/boot/linux", f"{recipes}/debian/initrd.gz", f"{recipes}/debian/p.cfg",
    ]  # fmt: skip
    assert [path.relative_to(layout.build).as_posix() for path in step.outputs] == [
        "installer/debian/kernel",
        "installer/debian/initrd",
        "installer/debian/files/p.cfg",
        "installer/debian/index.jsonl",
    ]


def test_files_of_a_package(site):
    text = INSTALLER.replace('"debian/initrd.gz"', '"/boot/initrd.gz"')
    loaded = site(text + 'package = "debian/di.deb"\n')
    (step,) = plan_installer(loaded, Layout(loaded.root))
    assert step.inputs == (loaded.root / "recipes/installers/debian/di.deb",)
    assert (step.arguments["kernel"], step.arguments["initrd"]) == (
        "/boot/linux",
        "/boot/initrd.gz",
    )


def test_a_site_that_does_not_boot_from_the_network_needs_none(site):
    loaded = site(INSTALLER, without_netboot=True)
    assert plan_installer(loaded, Layout(loaded.root)) == ()


WHERE = "recipes/installers/debian.toml"
REFUSED = [
    ('options = ["url=@ulr@/p.cfg"]',
     f"{WHERE}:4: options[0]: @ulr@ stands for nothing; expected @disarm@, @server@, @url@, got "
     '"url=@ulr@/p.cfg"\n  next: write @url@'),
    ('options = ["a=@server@", "b=@@"]',
     f"{WHERE}:4: options[1]: @@ stands for nothing; expected @disarm@, @server@, @url@, got "
     '"b=@@"\n  next: write what it shall stand for'),
    ('files = ["a b.cfg"]',
     f'{WHERE}:4: files[0]: cannot be published under this name; expected at most 64 letters, '
     'digits, dots, dashes and underscores, and neither kernel nor initrd, got "a b.cfg"\n'
     "  next: rename the file"),
    ('files = ["x/kernel"]',
     f'{WHERE}:4: files[0]: cannot be published under this name; expected at most 64 letters, '
     'digits, dots, dashes and underscores, and neither kernel nor initrd, got "kernel"\n'
     "  next: rename the file"),
    ('files = ["a/p.cfg", "b/p.cfg"]',
     f"{WHERE}:4: files[1]: named twice; expected each of the paths once, got HERE/a/p.cfg and "
     "HERE/b/p.cfg\n  next: remove one of the two"),
    ('name = "t"',
     f'{WHERE}:4: name: no installer can be called "t"; expected another name, got a template '
     'called so\n  next: give it another name with: name = "..."'),
]  # fmt: skip


@pytest.mark.parametrize("line, message", REFUSED)
def test_what_cannot_be_published(site, tmp_path, line, message):
    with pytest.raises(RecipeError) as caught:
        site(INSTALLER + line + "\n")
    assert str(caught.value) == message.replace("HERE", f"{tmp_path}/recipes/installers")


def test_one_at_sign_is_no_word(site):
    assert site(INSTALLER + 'options = ["user@host"]\n').installers["debian"].options == (
        "user@host",
    )


def test_words_and_names_are_the_same_where_they_are_declared_twice():
    assert (netboot.INSTALLER_WORDS, netboot.INSTALLER_NAMES) == (
        published.WORDS,
        published.NAMES,
    )
