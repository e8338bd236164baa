"""One step an installer: its files as they are published, if the site boots from the network."""

from __future__ import annotations

from bootsmith.graph.layout import Layout
from bootsmith.graph.names import installer_index_path
from bootsmith.graph.step import Input, Output, Scratch, Step
from bootsmith.site.models import Installer, Site


def plan_installer(site: Site, layout: Layout) -> tuple[Step, ...]:
    """Steps that take each installer's kernel, initramfs and files."""
    if site.netboot is None:
        return ()
    network = site.netboot.network_values
    return tuple(
        Step(
            kind="installer",
            name=installer.name,
            summary=f"installer {installer.name}: {installer.summary}",
            builder="bootsmith.builders.installer:build_installer",
            arguments={
                "name": installer.name,
                **_kernel_and_initrd(installer),
                "files": tuple(map(Input, installer.files)),
                "network": network,
                "kernel_output": Output(layout.of("installer", installer.name, "kernel")),
                "initrd_output": Output(layout.of("installer", installer.name, "initrd")),
                "file_outputs": tuple(
                    Output(layout.of("installer", installer.name, "files", path.name))
                    for path in installer.files
                ),
                "build": Scratch(layout.build),
                "index": Output(installer_index_path(layout, installer)),
            },
        )
        for installer in site.installers.values()
    )


def _kernel_and_initrd(installer: Installer) -> dict[str, Input | str | None]:
    """Files of this machine; or of a package, where they are names and no files."""
    if installer.package is None:
        return {
            "kernel": Input(installer.kernel),
            "initrd": Input(installer.initrd),
            "package": None,
        }
    return {
        "kernel": str(installer.kernel),
        "initrd": str(installer.initrd),
        "package": Input(installer.package),
    }
