"""libguestfs: a disk image opened by a real kernel, inside a small virtual machine.

libguestfs wants to make its appliance from a kernel in /boot and modules in /lib/modules. A
container or a build machine may have neither, so an appliance can be made from any kernel and
its modules: `build_appliance`. The emulator always runs without KVM: there are machines where
/dev/kvm exists and does not work, and reading one key does not need it.

Debian's python3-guestfs is the binding; PyPI has none.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bootsmith.errors import FormatError, ToolFailed, ToolMissing
from bootsmith.files.atomic import replacing_directory
from bootsmith.tools import catalog
from bootsmith.tools.run import run_program

Progress = Callable[[str, int, int | None], None]

SUPERMIN_RECIPE = Path("/usr/lib/x86_64-linux-gnu/guestfs/supermin.d")
_BINDING = "python:guestfs"
_BOOT = Path("/boot")
_HOST_MODULES = Path("/lib/modules")
_MEMORY_MEBIBYTES = 512
_LISTED_DIFFERENCES = 5
# supermin looks at /lib/modules even when told to take modules from elsewhere. Where there is
# none, it gets to see one: ours laid over /usr/lib, in a mount namespace that ends with it.
_WITH_MODULES_DIRECTORY = (
    'mount -t overlay overlay -o "lowerdir=$1:/usr/lib" /usr/lib && shift && exec "$@"'
)


def build_appliance(*, kernel: Path, modules: Path, directory: Path) -> None:
    """Make `directory` an appliance that runs `kernel`.

    `modules` is that kernel's directory of modules, named by its release and with the indexes
    that depmod makes. Needed among them: virtio_pci, virtio_scsi, sd_mod, vfat and what they
    depend on, as any Debian or Alpine kernel has.
    """
    if not SUPERMIN_RECIPE.is_dir():
        raise _libguestfs_missing(SUPERMIN_RECIPE)
    with replacing_directory(directory) as appliance:
        made = appliance / "made"
        argv: list[str | Path] = [
            # --copy-kernel: a link would break once the kernel is gone
            *("supermin", "--build", "--copy-kernel", "--format", "ext2"),
            *("--host-cpu", "x86_64", SUPERMIN_RECIPE, "-o", made),
        ]
        environment = {
            "SUPERMIN_KERNEL": str(kernel.resolve()),
            "SUPERMIN_KERNEL_VERSION": modules.name,
            "SUPERMIN_MODULES": str(modules.resolve()),
        }
        with tempfile.TemporaryDirectory() as scratch:
            if not _HOST_MODULES.exists():
                argv = _in_namespace(Path(scratch), argv)
            run_program(
                argv,
                environment=environment,
                hint=f"if it cannot mount here, make the directory: sudo mkdir {_HOST_MODULES}",
            )
        for part in ("kernel", "initrd", "root"):
            os.rename(made / part, appliance / part)
        made.rmdir()
        # libguestfs takes a directory with a file of this name as a finished appliance.
        (appliance / "README.fixed").write_text("Made from a given kernel.\n", encoding="ascii")


def check_key_with_guestfs(
    image: Path, contents: Path, *, appliance: Path | None = None, progress: Progress | None = None
) -> str:
    """Compare every file of a key with `contents`, through a kernel's own FAT driver.

    `contents` is what build_usbkey wrote: JSON of path, sha256 and size_bytes. Without
    `appliance` libguestfs makes its own from a kernel in /boot. Returns the release of the
    kernel that looked. Raises FormatError where a file is missing, differs, or is on the key
    without being in `contents`; ToolMissing, ToolFailed.
    """
    with _opened(image, appliance, progress) as guest:
        if progress:
            progress("reading the key through a real kernel", 0, None)
        found = _digests(guest)
        kernel_release = str(guest.utsname()["uts_release"])
    check_digests(image, contents, found)
    return kernel_release


def check_digests(image: Path, contents: Path, found: Mapping[str, str]) -> None:
    """FormatError, naming `image`, unless `found` (hex sha256 by path) is what `contents` says."""
    expected = {path: entry["sha256"] for path, entry in json.loads(contents.read_bytes()).items()}
    differences = [
        f"{path}: {_difference(expected.get(path), found.get(path))}"
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path) != found.get(path)
    ]
    if differences:
        shown = "\n".join(f"    {line}" for line in differences[:_LISTED_DIFFERENCES])
        raise FormatError(
            image,
            f"{len(differences)} of {len(expected)} files are not as {contents.name} says\n{shown}",
            hint="remove the image and build it again",
        )


def _in_namespace(scratch: Path, argv: list[str | Path]) -> list[str | Path]:
    layer = scratch / "layer"
    (layer / "modules").mkdir(parents=True)
    # --map-root-user: a user may mount in a namespace of his own; for root it changes nothing
    unshare = ["unshare", "--map-root-user", "--mount"] if os.geteuid() else ["unshare", "--mount"]
    return [*unshare, "sh", "-c", _WITH_MODULES_DIRECTORY, "sh", layer, *argv]


@contextmanager
def _opened(image: Path, appliance: Path | None, progress: Progress | None) -> Iterator[Any]:
    try:
        import guestfs
    except ImportError:
        raise _libguestfs_missing("python3-guestfs") from None
    if appliance is None:
        _check_host_kernel()
    guest = guestfs.GuestFS(python_return_dict=True)
    try:
        guest.set_backend("direct")  # no libvirt daemon
        guest.set_backend_settings(["force_tcg"])
        guest.set_memsize(_MEMORY_MEBIBYTES)
        if appliance is not None:
            guest.set_path(str(appliance))
        guest.add_drive_opts(str(image), format="raw", readonly=True)
        if progress:
            progress("starting libguestfs", 0, None)
        guest.launch()
        guest.mount_ro("/dev/sda1", "/")
        yield guest
    except RuntimeError as error:  # the binding raises nothing else
        raise ToolFailed(
            "libguestfs", f"{image}: {error}", hint="see what it says: libguestfs-test-tool"
        ) from None
    finally:
        guest.close()


def _libguestfs_missing(what: object) -> ToolMissing:
    return ToolMissing(
        what,
        f"not found, needed by {catalog.purpose_of(_BINDING)}",
        hint=f"{catalog.how_to_get(_BINDING)}, or see all with: make doctor",
    )


def _check_host_kernel() -> None:
    kernels = sorted(_BOOT.glob("vmlinuz-*"))
    if not any(os.access(kernel, os.R_OK) for kernel in kernels):
        raise ToolMissing(
            _BOOT,
            f"no kernel that libguestfs could start, needed by {catalog.purpose_of(_BINDING)}",
            expected="a readable /boot/vmlinuz-RELEASE and /lib/modules/RELEASE",
            got=", ".join(kernel.name for kernel in kernels) + " (unreadable)"
            if kernels
            else "nothing",
            hint="give an appliance made by build_appliance from the release's own kernel and "
            "modloop, or install one: sudo apt-get install linux-image-cloud-amd64",
        )


def _digests(guest: Any) -> dict[str, str]:
    """Hex sha256 of all files, by path without a leading slash."""
    with tempfile.TemporaryDirectory() as scratch:
        sums = Path(scratch, "sums")
        guest.checksums_out("sha256", "/", str(sums))
        lines = sums.read_text("utf-8", "surrogateescape").splitlines()
    pairs = (line.split(maxsplit=1) for line in lines)
    return {path.removeprefix("*").removeprefix("./"): digest for digest, path in pairs}


def _difference(expected: str | None, found: str | None) -> str:
    if found is None:
        return "is not on the key"
    if expected is None:
        return "is on the key, but should not be"
    return f"expected sha256 {expected}, got {found}"
