"""`syslinux.cfg`, in the form that Alpine's own media have had since 3.5.

Source of the facts: aports scripts/mkimg.base.sh (which lines and in which order); syslinux
txt/syslinux.cfg.txt (what they mean).
"""

from __future__ import annotations

from bootsmith.formats.boot_menu import BootMenu, check_kernel_options


def write_syslinux_cfg(menu: BootMenu) -> bytes:
    """The configuration for `menu`; RecipeError for options that cannot be passed on.

    With a time-out of 0 the prompt is not shown: SYSLINUX's own `TIMEOUT 0` would wait for
    ever.
    """
    check_kernel_options(menu.options, subject="syslinux.cfg")
    lines = ["SERIAL 0 115200"] if menu.serial_console else []
    if menu.timeout_deciseconds:
        lines += [f"TIMEOUT {menu.timeout_deciseconds}", "PROMPT 1"]
    else:
        lines += ["PROMPT 0"]
    lines += [
        f"DEFAULT {menu.flavor}",
        "",
        f"LABEL {menu.flavor}",
        f"\tMENU LABEL Linux {menu.flavor}",
        f"\tKERNEL {menu.kernel}",
        f"\tINITRD {','.join(menu.initrds)}",
        f"\tAPPEND {' '.join(menu.options)}",
        "",
    ]
    return "\n".join(lines).encode("ascii")
