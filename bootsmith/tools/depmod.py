"""depmod: the indexes of a tree of kernel modules."""

from __future__ import annotations

from pathlib import Path

from bootsmith.tools.run import run_program


def index_modules(root: Path, kernel_release: str) -> None:
    """Write `modules.*` into `root/lib/modules/<kernel_release>` from the modules there.

    modules.order, modules.builtin and modules.builtin.modinfo of the kernel's build are to
    be there already. Indexes are 0644 whatever the umask.
    """
    run_program(
        ["depmod", "--basedir", root, kernel_release],
        needed_by="the stand-in builder, to index its modules",
    )
    for index in (root / "lib/modules" / kernel_release).glob("modules.*"):
        index.chmod(0o644)  # depmod writes under our umask
