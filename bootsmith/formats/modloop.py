"""What a modloop holds: `modules/<kernel release>/…` and, beside it, `modules/firmware/…`.

Source: alpinelinux/alpine-conf update-kernel.in. The image of a 3.1 release is a squash of
a whole `lib/`, so other names beside `modules` are no error.
"""

from __future__ import annotations

from bootsmith.errors import FormatError
from bootsmith.formats.squashfs import Squashfs


def modloop_kernel_release(image: Squashfs) -> str:
    """The kernel release (`uname -r`) whose modules `image` holds; FormatError unless one."""
    names = image.names("modules") if image.exists("modules") else ()
    releases = [
        name
        for name in names
        if name != "firmware" and image.entry(f"modules/{name}").type == "dir"
    ]
    if len(releases) != 1:
        raise FormatError(
            image.subject,
            "not a modloop",
            expected="one directory modules/<kernel release>",
            got=", ".join(f"modules/{name}" for name in releases) or "none",
            hint="use the modloop of the same release as the kernel",
        )
    return releases[0]
