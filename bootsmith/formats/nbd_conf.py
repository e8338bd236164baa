"""`nbd-server.conf`: images of a generation as network block devices, read-only.

An export carries the id of its generation in its name: a client that lost its connection asks
for the same name again, and can never be given another image under it.

Source of the facts: nbd-server(5) of 3.24; clients were seen to read from it.
"""

from __future__ import annotations

from collections.abc import Iterable

from bootsmith.errors import RecipeError
from bootsmith.formats.conf_values import check_network_values
from bootsmith.formats.inventory import Inventory
from bootsmith.formats.netboot_network import GENERATION, Network

CONF_NAME = "nbd-server.conf"
NBD_PORT = 10809  # IANA's for NBD, and nbd-server's own
_NAME_LIMIT_BYTES = 255  # what clients can be counted on to ask for (NBD protocol, "export name")


def write_nbd_server_conf(network: Network, inventory: Inventory, *, images: Iterable[str]) -> str:
    """The configuration, a text that names its generation.

    `images` are paths below a generation, `usbkey/web/web.img`; each is exported as
    `GENERATION/usbkey/web/web.img`. RecipeError for values that it could not hold.
    """
    check_network_values(network)
    lines = [
        "[generic]",
        "user = nbd",
        "group = nbd",
        f"listenaddr = {network.server}",
        f"port = {NBD_PORT}",
        # nbd-client -l shows what there is.
        "allowlist = true",
    ]
    for path in sorted(images):
        name = f"{GENERATION}/{path}"
        _check(path)
        lines += [
            "",
            f"[{name}]",
            f"exportname = {network.root}/generations/{name}",
            "readonly = true",
        ]
    return "".join([f"{line}\n" for line in lines])


def _check(path: str) -> None:
    plain = (
        path.replace("/", "").replace("_", "").replace("-", "").replace(".", "").replace("+", "")
    )
    if not plain.isalnum() or not plain.isascii() or len(path) > _NAME_LIMIT_BYTES // 2:
        raise RecipeError(
            "nbd-server.conf",
            "an export cannot be called like this image",
            expected="letters, digits, dots, dashes, underscores and plus signs",
            got=ascii(path),
            hint="give the template or release another name",
        )
