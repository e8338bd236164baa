"""`/etc/default/tftpd-hpa`: how Debian starts in.tftpd.

Source of the facts: tftpd-hpa 5.2's init script, which reads the file as a shell does, and
in.tftpd(8).
"""

from __future__ import annotations

from bootsmith.formats.conf_values import check_network_values
from bootsmith.formats.inventory import Inventory
from bootsmith.formats.netboot_network import Network

CONF_NAME = "tftpd-hpa"


def write_tftpd_defaults(network: Network, inventory: Inventory) -> str:
    """The file; RecipeError for values that it could not hold.

    in.tftpd changes its root to the directory (--secure), so every link that it follows leads to
    a place below it, and names begin there: `current/netboot/tftp/pxelinux.0`.
    """
    check_network_values(network)
    return (
        'TFTP_USERNAME="tftp"\n'
        f'TFTP_DIRECTORY="{network.root}"\n'
        f'TFTP_ADDRESS="{network.server}:69"\n'
        'TFTP_OPTIONS="--secure"\n'
    )
