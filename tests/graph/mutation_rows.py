"""The mutation table: what is changed in the tiny site, and exactly which steps are redone.

A row is a name, a change and its prediction. Predictions are written by hand, from what each
step reads: a step is redone if what it reads changed, and those below it only if its output
became another. `CHAIN` and its like spell out how far a changed byte travels.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kernel_samples import bzimage
from mutation_site import ISO, KERNELS, Change, Disc, Site

from bootsmith.generations.rollback import roll_back as go_back

FLAVORS = ("virt", "lts")
PUBLISHED = frozenset({"generation", "promote"})
READ_ISO = frozenset({"iso:tiny"})
BOTH_FLAVORS = frozenset({"flavor:tiny-virt", "flavor:tiny-lts"})
BOTH_PXERDS = frozenset({"pxerd:tiny-virt", "pxerd:tiny-lts"})
BOTH_KEYS = frozenset({"usbkey:alpha", "usbkey:beta"})
BOTH_OVERLAYS = frozenset({"apkovl:alpha", "apkovl:beta"})
ALL = (
    READ_ISO
    | BOTH_FLAVORS
    | BOTH_PXERDS
    | BOTH_KEYS
    | BOTH_OVERLAYS
    | {"modloop:tiny-virt", "modloop:tiny-lts"}
    | PUBLISHED
)
READERS_OF_ISO = READ_ISO | BOTH_FLAVORS | BOTH_PXERDS | BOTH_KEYS
"""All that read the ISO file; what they make of it decides about the rest."""
ALPHA = frozenset({"apkovl:alpha", "usbkey:alpha"}) | PUBLISHED
BETA = frozenset({"apkovl:beta", "usbkey:beta"}) | PUBLISHED
BASE = ALPHA | BETA
"""How far a byte of the overlay that both share travels."""
KEY_ALPHA = frozenset({"usbkey:alpha"}) | PUBLISHED
PXERDS = BOTH_PXERDS | BOTH_KEYS | PUBLISHED
REPORTED = BOTH_PXERDS | {"generation"}
"""The pxerds are the same but their reports are not: read again, but no new generation."""
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One mutation. `fails` is how the run must end instead, as a part of its message."""

    name: str
    change: Change
    redone: frozenset[str] = NOTHING
    fails: str | None = None


def only(*labels: str) -> frozenset[str]:
    return frozenset(labels)


# -- changes ------------------------------------------------------------------------------


def edit(name: str, old: str, new: str) -> Change:
    """Replace a text that must be there."""

    def change(site: Site) -> None:
        text = site.path(name).read_text()
        assert old in text, (name, old)
        site.path(name).write_text(text.replace(old, new, 1))

    return change


def write(name: str, content: str | bytes, mode: int | None = None) -> Change:
    def change(site: Site) -> None:
        path = site.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        if mode is not None:
            path.chmod(mode)

    return change


def append(name: str, text: str) -> Change:
    return lambda site: site.path(name).write_text(site.path(name).read_text() + text) and None


def chmod(name: str, mode: int) -> Change:
    return lambda site: site.path(name).chmod(mode)


def chown(name: str) -> Change:
    return lambda site: os.lchown(site.path(name), 12345, 12345)


def remove(name: str) -> Change:
    def change(site: Site) -> None:
        path = site.path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    return change


def rename(old: str, new: str) -> Change:
    return lambda site: site.path(old).rename(site.path(new)) and None


def touch(name: str) -> Change:
    return lambda site: os.utime(site.path(name), (1, 1), follow_symlinks=False)


def link(name: str, text: str) -> Change:
    """A symbolic link in the place of whatever is there."""

    def change(site: Site) -> None:
        if os.path.lexists(site.path(name)):
            remove(name)(site)
        site.path(name).parent.mkdir(parents=True, exist_ok=True)
        site.path(name).symlink_to(text)

    return change


def directory(name: str) -> Change:
    def change(site: Site) -> None:
        if os.path.lexists(site.path(name)):
            remove(name)(site)
        site.path(name).mkdir(parents=True)

    return change


def pipe(name: str) -> Change:
    def change(site: Site) -> None:
        if os.path.lexists(site.path(name)):
            remove(name)(site)
        os.mkfifo(site.path(name))

    return change


def flip(name: str, *, keep_times: bool = True) -> Change:
    """Another byte in the middle, with the size and (`touch -r`) the times of before."""

    def change(site: Site) -> None:
        path = site.path(name)
        status = path.stat()
        path.chmod(0o644)
        with open(path, "r+b") as file:
            file.seek(status.st_size // 2)
            old = file.read(1) or b"\0"
            file.seek(status.st_size // 2)
            file.write(bytes([old[0] ^ 1]))
        path.chmod(status.st_mode & 0o7777)
        if keep_times:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


def truncate(name: str, size_bytes: int | None = None) -> Change:
    """Cut to half, or to the given size."""

    def change(site: Site) -> None:
        path = site.path(name)
        os.truncate(path, path.stat().st_size // 2 if size_bytes is None else size_bytes)

    return change


def copy_over(name: str) -> Change:
    """The same content, mode and times as another file (`cp -p`, `git checkout`)."""

    def change(site: Site) -> None:
        path = site.path(name)
        other = path.with_name(f"{path.name}.new")
        shutil.copy2(path, other)
        other.rename(path)

    return change


def link_to_copy(name: str) -> Change:
    """A link in its place, to the same content elsewhere."""

    def change(site: Site) -> None:
        path = site.path(name)
        path.rename(site.root / "moved-away")
        path.symlink_to(site.root / "moved-away")

    return change


def both(*changes: Change) -> Change:
    def change(site: Site) -> None:
        for one in changes:
            one(site)

    return change


def program(name: str, version: str | None) -> Change:
    return lambda site: site.programs.update({name: version})


def other_iso(alter: Callable[[Disc], None]) -> Change:
    """The ISO made anew from a tree in which something is different."""

    def change(site: Site) -> None:
        work = site.root.parent / "other-disc"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(site.root.parent / "disc", work, symlinks=True)
        disc = Disc.__new__(Disc)
        disc.directory, disc.tree = work, work / "tree"
        alter(disc)
        disc.write(site.path(ISO))

    return change


# -- rows ---------------------------------------------------------------------------------

TINY, ALPHA_TOML = "recipes/releases/tiny.toml", "recipes/templates/alpha.toml"
BETA_TOML, SITE_TOML = "recipes/templates/beta.toml", "recipes/site.toml"


def rows() -> list[Row]:
    """The whole table."""
    found = [
        *_release_recipe_rows(),
        *_template_recipe_rows(),
        *_site_recipe_rows(),
        *_overlay_rows(),
        *_owner_rows(),
        *_feature_rows(),
        *_iso_rows(),
        *_target_rows(),
        *_published_rows(),
        *_machine_rows(),
    ]
    names = [row.name for row in found]
    assert len(set(names)) == len(names), "two rows of one name"
    return found


def _release_recipe_rows() -> Iterator[Row]:
    def row(name: str, old: str, new: str, redone: frozenset[str], fails: str | None = None) -> Row:
        return Row(
            name=f"release recipe: {name}", change=edit(TINY, old, new), redone=redone, fails=fails
        )

    features = '["network", "squashfs"]'
    yield row("a comment", "[pxerd]", "# hello\n\n[pxerd]", NOTHING)
    yield row("its own name, said", "flavors", 'name = "tiny"\nflavors', NOTHING)
    yield row("a default, said", "level = 6\n", "level = 6\n\n[modloop]\n", NOTHING)
    yield row("iso, spelled otherwise", "../../media/", "../../overlays/../media/", NOTHING)
    yield row("a feature more", features, '["network", "squashfs", "usb"]', PXERDS)
    yield row("a feature less", features, '["network"]', PXERDS)
    yield row("features in another order", features, '["squashfs", "network"]', REPORTED)
    yield row("compression", '"gzip"', '"xz"', PXERDS)
    yield row("compression auto, which finds the same", '"gzip"\nlevel = 6\n', '"auto"\n', REPORTED)
    yield row("level", "level = 6", "level = 5", PXERDS)
    yield row("level by default", "level = 6\n", "", BOTH_PXERDS)
    yield row("flavors in another order", '["virt", "lts"]', '["lts", "virt"]', only("generation"))
    yield row(
        "a wrong sha256",
        "flavors",
        f'sha256 = "{"0" * 64}"\nflavors',
        READ_ISO,
        fails="sha256 differs from the recipe's",
    )
    yield row(
        "a wrong sha512",
        "flavors",
        f'sha512 = "{"0" * 128}"\nflavors',
        READ_ISO,
        fails="sha512 differs from the recipe's",
    )
    for algorithm in ("sha256", "sha512"):
        yield Row(
            name=f"release recipe: the right {algorithm}",
            change=_with_right_digest(algorithm),
            redone=READ_ISO,
        )
    yield Row(
        name="release recipe: another path with the same ISO",
        change=both(
            edit(TINY, "tiny.iso", "copy.iso"),
            lambda site: shutil.copy2(site.path(ISO), site.path("media/copy.iso")) and None,
        ),
        redone=READERS_OF_ISO,
    )
    yield Row(
        name="release recipe: a flavor less",
        change=both(
            edit(TINY, '["virt", "lts"]', '["virt"]'),
            edit(BETA_TOML, "overlays", 'flavor = "virt"\noverlays'),
            edit(SITE_TOML, '"lts"', '"virt"'),
        ),
        redone=only("usbkey:beta") | PUBLISHED,
    )
    yield Row(name="release recipe: touched", change=touch(TINY))
    yield Row(name="release recipe: chmod", change=chmod(TINY, 0o600))
    yield Row(
        name="release recipe: another name",
        change=both(
            rename(TINY, "recipes/releases/small.toml"), edit(SITE_TOML, '"tiny"\nf', '"small"\nf')
        ),
        redone=frozenset(label.replace(":tiny", ":small") for label in ALL) - BOTH_OVERLAYS,
    )


def _with_right_digest(algorithm: str) -> Change:
    def change(site: Site) -> None:
        digest = hashlib.new(algorithm, site.path(ISO).read_bytes()).hexdigest()
        edit(TINY, "flavors", f'{algorithm} = "{digest}"\nflavors')(site)

    return change


def _template_recipe_rows() -> Iterator[Row]:
    def row(name: str, old: str, new: str, redone: frozenset[str]) -> Row:
        return Row(name=f"template: {name}", change=edit(ALPHA_TOML, old, new), redone=redone)

    apkovl = only("apkovl:alpha")
    packages = 'packages = ["dropbear", "nginx"]'
    boot = 'options = ["quiet"]\n'
    yield row("summary", '"first"', '"the first"', NOTHING)
    yield row("a comment", "[boot]", "# boots\n[boot]", NOTHING)
    yield row("its own name, said", "summary", 'name = "alpha"\nsummary', NOTHING)
    yield row("the site's release, said", "flavor", 'release = "tiny"\nflavor', NOTHING)
    yield row("a default, said", boot, boot + "timeout_seconds = 1\nserial = true\n", NOTHING)
    yield row("hostname", 'hostname = "alpha"', 'hostname = "first"', ALPHA)
    yield row("a package more", packages, 'packages = ["dropbear", "nginx", "nano"]', ALPHA)
    yield row("a package less", packages, 'packages = ["nginx"]', ALPHA)
    yield row("no packages", packages, "packages = []", ALPHA)
    yield row("packages in another order", packages, 'packages = ["nginx", "dropbear"]', apkovl)
    yield row("alpine-base, said", packages, packages[:-1] + ', "alpine-base"]', apkovl)
    yield row("a service more", '"local"]', '"local", "crond"]', ALPHA)
    yield row("a service less", '["dropbear", "local"]', '["local"]', ALPHA)
    yield row("services in another order", '["dropbear", "local"]', '["local", "dropbear"]', apkovl)
    yield row("a runlevel more", "[boot]", 'sysinit = ["devfs"]\n\n[boot]', ALPHA)
    yield row("an empty runlevel", "[boot]", "sysinit = []\n\n[boot]", apkovl)
    yield row(
        "runlevels in another order",
        'boot = ["networking"]\ndefault = ["dropbear", "local"]',
        'default = ["dropbear", "local"]\nboot = ["networking"]',
        NOTHING,
    )
    yield row("no stock services", packages, packages + "\ndefault_boot_services = false", ALPHA)
    yield row("an overlay less", '["base", "alpha"]', '["base"]', ALPHA)
    yield row("an overlay more", '["base", "alpha"]', '["base", "alpha", "unused"]', ALPHA)
    yield row("overlays in another order", '["base", "alpha"]', '["alpha", "base"]', apkovl)
    yield row("kernel options", boot, 'options = ["quiet", "usbdelay=5"]\n', KEY_ALPHA)
    yield row("no kernel options", boot, "options = []\n", KEY_ALPHA)
    yield row("timeout", boot, boot + "timeout_seconds = 2.5\n", KEY_ALPHA)
    yield row("no serial console", boot, boot + "serial = false\n", KEY_ALPHA)
    yield row("the stock initramfs", boot, boot + 'initramfs = "stock"\n', KEY_ALPHA)
    yield row("size of the key", '"36M"', '"37M"', KEY_ALPHA)
    yield row("the same size, in other words", '"36M"', '"36864K"', NOTHING)
    yield row("size by content", 'size = "36M"\n', "", KEY_ALPHA)
    yield row("label of the key", 'size = "36M"', 'size = "36M"\nlabel = "OTHER"', KEY_ALPHA)
    yield row("firmware less", '["bios", "uefi"]', '["uefi"]', KEY_ALPHA)
    yield row("firmware in another order", '["bios", "uefi"]', '["uefi", "bios"]', KEY_ALPHA)
    yield row("flavor", 'flavor = "virt"', 'flavor = "lts"', KEY_ALPHA)
    yield Row(name="template: touched", change=touch(ALPHA_TOML))
    yield Row(name="template: chmod", change=chmod(ALPHA_TOML, 0o640))
    yield Row(
        name="template: firmware that needs what the machine lacks",
        change=both(program("grub-mkimage", None), edit(BETA_TOML, '["bios"]', '["bios", "uefi"]')),
        redone=BOTH_KEYS | PUBLISHED,
    )
    yield Row(
        name="template: a new one",
        change=write(
            "recipes/templates/gamma.toml",
            'summary = "third"\noverlays = ["base"]\n[usbkey]\nsize = "36M"\nfirmware = ["bios"]\n',
        ),
        redone=only("apkovl:gamma", "usbkey:gamma") | PUBLISHED,
    )
    yield Row(name="template: one less", change=remove(BETA_TOML), redone=PUBLISHED)
    yield Row(
        name="template: another name",
        change=rename(BETA_TOML, "recipes/templates/gamma.toml"),
        redone=only("apkovl:gamma", "usbkey:gamma") | PUBLISHED,
    )


def _site_recipe_rows() -> Iterator[Row]:
    def row(name: str, old: str, new: str, redone: frozenset[str]) -> Row:
        return Row(name=f"site.toml: {name}", change=edit(SITE_TOML, old, new), redone=redone)

    yield row("its name", 'name = "tiny"', 'name = "other"', PUBLISHED)
    yield row("generations to keep", "keep = 5", "keep = 9", NOTHING)
    yield row("memory of test machines", "= 512", "= 1024", NOTHING)
    yield row("accelerator of test machines", '"tcg"', '"auto"', NOTHING)
    yield row(
        "the default flavor", 'flavor = "lts"', 'flavor = "virt"', only("usbkey:beta") | PUBLISHED
    )
    yield row("a comment", "[smoke]", "# smoke\n[smoke]", NOTHING)
    yield Row(name="site.toml: touched", change=touch(SITE_TOML))


def _overlay_rows() -> Iterator[Row]:
    def row(name: str, change: Change, redone: frozenset[str], fails: str | None = None) -> Row:
        return Row(name=f"overlay: {name}", change=change, redone=redone, fails=fails)

    motd, hello = "overlays/base/etc/motd", "overlays/base/usr/bin/hello"
    issue, page = "overlays/alpha/etc/issue", "overlays/alpha/srv/www/index.html"
    zone, empty = "overlays/base/etc/localtime", "overlays/base/var/empty"
    apkovl = only("apkovl:alpha")
    yield row("a shared file edited", append(motd, "!"), BASE)
    yield row("a shared file edited, size and times kept", flip(motd), BASE)
    yield row("a shared file edited, size kept", flip(motd, keep_times=False), BASE)
    yield row("an own file edited", append(issue, "!"), ALPHA)
    yield row("an own file edited, size and times kept", flip(issue), ALPHA)
    yield row("a file emptied", truncate(issue, 0), ALPHA)
    yield row("a file added", write("overlays/alpha/etc/new", "new"), ALPHA)
    yield row("an empty file added", write("overlays/alpha/etc/new", ""), ALPHA)
    yield row("a hidden file added", write("overlays/alpha/etc/.hidden", "new"), ALPHA)
    yield row("a file with a wild name", write("overlays/alpha/etc/ä b", "x"), ALPHA)
    yield row("a directory added", directory("overlays/alpha/etc/init.d"), ALPHA)
    yield row("a directory added, a shared one", directory("overlays/alpha/etc/conf.d"), apkovl)
    yield row("a link added", link("overlays/alpha/etc/new", "issue"), ALPHA)
    yield row("a dangling link added", link("overlays/alpha/etc/new", "/nowhere"), ALPHA)
    yield row("a file over a shared one", write("overlays/alpha/etc/motd", "mine\n"), ALPHA)
    yield row(
        "the same file over a shared one", write("overlays/alpha/etc/motd", "welcome\n"), apkovl
    )
    yield row("a file removed", remove(page), ALPHA)
    yield row("a link removed", remove(zone), BASE)
    yield row("an empty directory removed", remove(empty), BASE)
    yield row("a directory with all in it removed", remove("overlays/alpha/srv"), ALPHA)
    yield row("a file renamed", rename(page, "overlays/alpha/srv/www/index.htm"), ALPHA)
    yield row(
        "a directory renamed", rename("overlays/alpha/srv/www", "overlays/alpha/srv/w"), ALPHA
    )
    yield row("a link renamed", rename(zone, "overlays/base/etc/zone"), BASE)
    yield row("a link led elsewhere", link(zone, "/etc/zoneinfo/GMT"), BASE)
    yield row("a link made anew", link(zone, "/etc/zoneinfo/UTC"), NOTHING)
    yield row("executable", chmod(issue, 0o755), ALPHA)
    yield row("no longer executable", chmod(hello, 0o644), BASE)
    yield row("a mode that git does not carry", chmod(issue, 0o600), apkovl)
    yield row("a directory's mode", chmod("overlays/alpha/srv", 0o700), apkovl)
    yield row("the tree's own mode", chmod("overlays/alpha", 0o700), apkovl)
    yield row("a file became a link", link(issue, "motd"), ALPHA)
    yield row("a link became a file", both(remove(zone), write(zone, "UTC")), BASE)
    yield row("a file became a directory", directory(issue), ALPHA)
    yield row("a directory became a file", both(remove(empty), write(empty, "")), BASE)
    yield row("a directory became a link", link(empty, "../run"), BASE)
    yield row("a link became a directory", directory(zone), BASE)
    yield row("the tree became a link to itself", link_to_copy("overlays/alpha"), apkovl)
    yield row("a pipe added", pipe("overlays/alpha/etc/pipe"), apkovl, fails="is a named pipe")
    yield row("a file touched", touch(issue), NOTHING)
    yield row("a directory touched", touch("overlays/base/etc"), NOTHING)
    yield row("a link touched", touch(zone), NOTHING)
    yield row("a file copied over itself", copy_over(issue), NOTHING)
    yield row("added and removed again", both(write(page + "x", "x"), remove(page + "x")), NOTHING)
    yield row("a file of an unused tree", append("overlays/unused/etc/issue", "!"), NOTHING)
    yield row(
        "an unused tree removed",
        both(remove("overlays/unused"), remove("overlays/unused.owners")),
        NOTHING,
    )
    yield row("a new unused tree", write("overlays/more/etc/x", "x"), NOTHING)
    if os.geteuid() == 0:
        yield row("owner of a file", chown(issue), apkovl)
        yield row("owner of a directory", chown("overlays/alpha/srv"), apkovl)
        yield row("owner of a link", chown(zone), NOTHING)


def _owner_rows() -> Iterator[Row]:
    def row(name: str, change: Change, redone: frozenset[str], fails: str | None = None) -> Row:
        return Row(name=f"owners: {name}", change=change, redone=redone, fails=fails)

    owners = "overlays/base.owners"
    yield row("a mode", edit(owners, "0600", "0640"), BASE)
    yield row("an owner", edit(owners, "root:root", "nobody:root"), BASE)
    yield row("a group", edit(owners, "root:root", "root:adm"), BASE)
    yield row("a rule more", append(owners, "0755 root:root etc/motd\n"), BASE)
    yield row(
        "a rule that changes nothing", append(owners, "0644 root:root etc/motd\n"), BOTH_OVERLAYS
    )
    yield row("a directory made", append(owners, "d 0700 root:root srv/keep/\n"), BASE)
    yield row("a comment", append(owners, "# hello\n"), BOTH_OVERLAYS)
    yield row("removed", remove(owners), BASE)
    yield row("emptied", truncate(owners, 0), BASE)
    yield row(
        "for another tree", write("overlays/alpha.owners", "0600 root:root etc/issue\n"), ALPHA
    )
    yield row("for a tree that nobody takes", append("overlays/unused.owners", "# x\n"), NOTHING)
    yield row("chmod", chmod(owners, 0o600), BOTH_OVERLAYS)
    yield row("touched", touch(owners), NOTHING)
    yield row("copied over itself", copy_over(owners), NOTHING)
    yield row("a link to the same", link_to_copy(owners), BOTH_OVERLAYS)
    yield row(
        "a rule for nothing",
        append(owners, "0600 root:root etc/nothing\n"),
        BOTH_OVERLAYS,
        fails="etc/nothing",
    )


def _feature_rows() -> Iterator[Row]:
    def row(name: str, change: Change, redone: frozenset[str]) -> Row:
        return Row(name=f"features.d: {name}", change=change, redone=redone)

    network, usb = "recipes/features.d/network.modules", "recipes/features.d/usb.modules"
    acme = "kernel/drivers/net/ethernet/acme/acme-100.ko\n"
    yield row("a module more", append(network, acme), PXERDS)
    yield row("a module less", write("recipes/features.d/squashfs.modules", "# none\n"), PXERDS)
    yield row("a file more", write("recipes/features.d/network.files", "/bin/sh\n"), REPORTED)
    yield row("a comment", append(network, "# virtio\n"), BOTH_PXERDS)
    yield row("a feature that nobody asks for", append(usb, acme), BOTH_PXERDS)
    yield row("a new feature", write("recipes/features.d/nbd.modules", acme), BOTH_PXERDS)
    yield row("a feature that nobody asks for removed", remove(usb), BOTH_PXERDS)
    yield row(
        "a module more, times kept", flip_text(network, "virtio_net.ko*", "net_failover.*"), PXERDS
    )
    yield row("chmod", chmod(network, 0o600), BOTH_PXERDS)
    yield row("touched", touch(network), NOTHING)
    yield row("copied over itself", copy_over(network), NOTHING)
    yield row("a link to the same", link_to_copy(network), BOTH_PXERDS)


def flip_text(name: str, old: str, new: str) -> Change:
    """An edit that keeps size and times."""

    def change(site: Site) -> None:
        status = site.path(name).stat()
        edit(name, old, new)(site)
        assert site.path(name).stat().st_size == status.st_size
        os.utime(site.path(name), ns=(status.st_atime_ns, status.st_mtime_ns))

    return change


def _iso_rows() -> Iterator[Row]:
    def row(name: str, change: Change, redone: frozenset[str], fails: str | None = None) -> Row:
        return Row(name=f"iso: {name}", change=change, redone=redone, fails=fails)

    # The manifest names the ISO's digest, so it is always read again; a new generation is
    # made only of another content.
    readers = READERS_OF_ISO | {"generation"}

    def put(path: str, content: bytes) -> Change:
        return other_iso(lambda disc: disc.put(path, content))

    virt = only("modloop:tiny-virt")
    yield row("made anew, the same", other_iso(lambda disc: None), NOTHING)
    yield row("touched", touch(ISO), NOTHING)
    yield row("copied over itself", copy_over(ISO), NOTHING)
    yield row("chmod", chmod(ISO, 0o600), READERS_OF_ISO)
    yield row("a link to the same", link_to_copy(ISO), READERS_OF_ISO)
    yield row("a file that nobody takes", put("boot/System.map-virt", b"other"), readers)
    yield row(
        "a package",
        put("apks/x86_64/busybox-1.36.1-r29.apk", b"APK" * 999),
        READERS_OF_ISO | PUBLISHED,
    )
    yield row("a package more", put("apks/x86_64/zlib-1-r0.apk", b"z"), READERS_OF_ISO | PUBLISHED)
    yield row("a kernel", other_iso(_another_kernel), READERS_OF_ISO | PUBLISHED)
    yield row("a config", put("boot/config-virt", b"CONFIG_RD_GZIP=y\n"), readers)
    yield row(
        "no config", other_iso(lambda disc: (disc.tree / "boot/config-lts").unlink()), readers
    )
    yield row("a modloop", other_iso(_another_modloop), READERS_OF_ISO | virt | PUBLISHED)
    yield row("a flavor more", other_iso(_another_flavor), readers)
    yield row(
        "its date",
        put(".alpine-release", b"alpine-standard-3.20.3 240907\n"),
        READERS_OF_ISO | PUBLISHED,
    )
    yield row("removed", remove(ISO), NOTHING, fails="is needed by iso:tiny and is not there")
    yield row("cut short", truncate(ISO), NOTHING, fails="cut short")
    yield row("a directory", directory(ISO), NOTHING, fails="tiny.iso")
    yield row(
        "modules of another kernel",
        other_iso(lambda disc: disc.add_flavor("virt", release="9.9.9-virt") or _old_kernel(disc)),
        READ_ISO,
        fails="modules are for another kernel",
    )


def _another_kernel(disc: Disc) -> None:
    path = disc.tree / "boot/vmlinuz-virt"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _old_kernel(disc: Disc) -> None:
    disc.put("boot/vmlinuz-virt", bzimage(KERNELS["virt"]))


def _another_modloop(disc: Disc) -> None:
    disc.add_flavor("virt", more=("kernel/fs/jbd2/other.ko",))


def _another_flavor(disc: Disc) -> None:
    disc.add_flavor("edge", release="6.9.0-0-edge")


_TARGETS = {
    "release/tiny/facts.json": "iso:tiny",
    "flavor/tiny-virt/vmlinuz": "flavor:tiny-virt",
    "flavor/tiny-virt/initramfs": "flavor:tiny-virt",
    "flavor/tiny-virt/modloop": "flavor:tiny-virt",
    "flavor/tiny-lts/config": "flavor:tiny-lts",
    "pxerd/tiny-virt/pxerd-virt": "pxerd:tiny-virt",
    "pxerd/tiny-lts/report.json": "pxerd:tiny-lts",
    "modloop/tiny-virt/modloop-virt": "modloop:tiny-virt",
    "apkovl/alpha/alpha.apkovl.tar.gz": "apkovl:alpha",
    "apkovl/beta/contents.json": "apkovl:beta",
    "usbkey/alpha/alpha.img": "usbkey:alpha",
    "usbkey/beta/contents.json": "usbkey:beta",
    "promotion.json": "promote",
}


def _target_rows() -> Iterator[Row]:
    """What a step made, damaged: that step alone is redone, for it makes the same again."""
    for target, label in _TARGETS.items():
        name = f"artifacts/build/{target}"
        for what, change in (
            ("removed", remove(name)),
            ("truncated", truncate(name)),
            ("emptied", truncate(name, 0)),
            ("edited, size and times kept", flip(name)),
            ("chmod", chmod(name, 0o600)),
            ("replaced by a link to the same", link_to_copy(name)),
        ):
            yield Row(name=f"target: {target} {what}", change=change, redone=only(label))
        yield Row(name=f"target: {target} touched", change=touch(name))
        yield Row(name=f"target: {target} copied over itself", change=copy_over(name))
    key = "artifacts/build/usbkey/alpha/alpha.img"
    if os.geteuid() == 0:
        yield Row(name="target: owner", change=chown(key), redone=only("usbkey:alpha"))
    yield Row(
        name="target: replaced by a directory", change=directory(key), fails="is a directory where"
    )
    yield Row(
        name="target: a kind's directory removed",
        change=remove("artifacts/build/pxerd"),
        redone=BOTH_PXERDS,
    )
    yield Row(
        name="target: everything removed",
        change=remove("artifacts/build"),
        redone=ALL - {"generation"},
    )


def _published_rows() -> Iterator[Row]:
    def row(name: str, change: Change, redone: frozenset[str], fails: str | None = None) -> Row:
        return Row(name=f"published: {name}", change=change, redone=redone, fails=fails)

    promote = only("promote")
    manifest = "artifacts/generations/latest/MANIFEST.json"
    kernel = "artifacts/generations/latest/kernel/tiny-virt/vmlinuz-virt"
    key = "artifacts/generations/latest/usbkey/alpha/alpha.img"
    yield row("current removed", remove("artifacts/current"), promote)
    yield row("current dangling", link("artifacts/current", "generations/none"), promote)
    yield row("latest removed", remove("artifacts/generations/latest"), only("generation"))
    yield row("latest dangling", link("artifacts/generations/latest", "none"), only("generation"))
    yield row("every generation removed", remove("artifacts/generations"), PUBLISHED)
    yield row("the store removed", remove("artifacts/store"), NOTHING)
    for name in (
        "kernel/tiny-virt",
        "pxerd/tiny-lts",
        "modloop/tiny-virt",
        "apkovl/alpha",
        "usbkey/beta",
    ):
        current = f"artifacts/{name}/current"
        yield row(f"{name}/current removed", remove(current), promote)
        yield row(f"{name}/current led elsewhere", link(current, "../.."), promote)
        yield row(f"{name}/current led nowhere", link(current, "/nowhere"), promote)
    yield row("a kind's links removed", remove("artifacts/usbkey"), promote)
    yield row("manifest removed", remove(manifest), PUBLISHED)
    yield row("manifest truncated", truncate(manifest), PUBLISHED)
    yield row("manifest edited", edit(manifest, "3.20.3", "3.20.4"), PUBLISHED)
    yield row("manifest edited in its white space", append(manifest, "\n"), PUBLISHED)
    yield row("manifest chmod", chmod(manifest, 0o600), PUBLISHED)
    yield row("manifest touched", touch(manifest), NOTHING)
    yield row("a file of the generation removed", remove(kernel), PUBLISHED)
    yield row(
        "a file of the generation truncated", both(chmod(key, 0o644), truncate(key)), PUBLISHED
    )
    yield row("a file of the generation touched", touch(kernel), NOTHING)
    yield row("the state removed", both(*map(remove_if_there, _STATE)), ALL)
    yield row("doit's own state removed", remove_if_there("artifacts/doit.json"), NOTHING)
    yield row("the lock file removed", remove_if_there("artifacts/lock"), NOTHING)
    yield row("rolled back", roll_back, NOTHING)
    yield row(
        "rolled back, and a link removed",
        both(roll_back, remove("artifacts/kernel/tiny-virt/current")),
        promote,
    )
    yield row(
        "the state damaged", write(_STATE[0], b"not a database" * 99), NOTHING, fails="remove it"
    )


_STATE = tuple(f"artifacts/state.sqlite3{end}" for end in ("", "-wal", "-shm"))


def remove_if_there(name: str) -> Change:
    return lambda site: site.path(name).unlink(missing_ok=True)


def roll_back(site: Site) -> None:
    """Publish something else, then go back to what was there."""
    append("overlays/alpha/etc/issue", "!")(site)
    assert site.run() == ALPHA
    go_back(
        artifacts=site.layout.artifacts,
        to=None,
        say=lambda line: None,
        progress=lambda message, done, total: None,
    )


def _machine_rows() -> Iterator[Row]:
    def row(name: str, change: Change, redone: frozenset[str]) -> Row:
        return Row(name=f"machine: {name}", change=change, redone=redone)

    bios, uefi = BOTH_KEYS, only("usbkey:alpha")
    for name, redone in (
        ("syslinux", bios),
        ("mformat", bios),
        ("/usr/lib/syslinux/mbr/mbr.bin", bios),
        ("grub-mkimage", uefi),
        ("/usr/lib/grub/x86_64-efi", uefi),
    ):
        yield row(f"another {name}", program(name, "2.0"), redone)
        yield row(f"no {name}", program(name, None), redone)
    for name in ("mksquashfs", "xorriso", "depmod", "gpgv", "qemu-system-x86_64"):
        yield row(f"another {name}, which nothing here runs", program(name, "2.0"), NOTHING)
    yield row("another Python", lambda site: setattr(site, "python", "3.12"), ALL)
