"""A line for /etc/exports: the generations, for the NFS server of a Linux kernel.

Source of the facts: exports(5) of nfs-utils 2.6.2.
"""

from __future__ import annotations

from bootsmith.formats.conf_values import check_network_values
from bootsmith.formats.inventory import Inventory
from bootsmith.formats.netboot_network import Network

CONF_NAME = "exports"
GENERATIONS = "generations"
"""Below the root, what is exported. Boot configurations name generations by their id, never
`current`, so nobody loses the files that it has open when `current` moves."""


def write_exports(network: Network, inventory: Inventory) -> str:
    """The line; RecipeError for values that it could not hold.

    Machines mount as root and must read what only root may (no_root_squash); every path below the
    export can be mounted, and is one file system with it (no_subtree_check).
    """
    check_network_values(network)
    return (
        f"{network.root}/{GENERATIONS} {network.subnet}(ro,sync,no_root_squash,no_subtree_check)\n"
    )
