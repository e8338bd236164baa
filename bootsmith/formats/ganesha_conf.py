"""`ganesha.conf`: the generations over NFS from user space, version 3 and 4, read-only.

Source of the facts: ganesha-core-config(8), ganesha-export-config(8) of nfs-ganesha 4.3; machines
were seen to boot from it.
"""

from __future__ import annotations

from bootsmith.formats.conf_values import check_network_values
from bootsmith.formats.inventory import Inventory
from bootsmith.formats.netboot_network import Network
from bootsmith.formats.nfs_exports import GENERATIONS

CONF_NAME = "ganesha.conf"


def write_ganesha_conf(network: Network, inventory: Inventory) -> str:
    """The configuration; RecipeError for values that it could not hold."""
    check_network_values(network)
    exported = f"{network.root}/{GENERATIONS}"
    return f"""\
# {exported} for {network.subnet}, read-only. Version 3 needs rpcbind beside it.
NFS_CORE_PARAM {{
    Protocols = 3, 4;
    Bind_addr = {network.server};
    # Nobody writes, so nothing is locked: clients mount with nolock.
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = Mount;
}}
NFSv4 {{
    Graceless = true;
    RecoveryBackend = fs;
    # Owners by number, as clients ask for them; names would need the same users everywhere.
    Only_Numeric_Owners = true;
}}
EXPORT {{
    Export_Id = 1;
    Path = "{exported}";
    Pseudo = "{exported}";
    Access_Type = None;
    Squash = No_Root_Squash;
    SecType = sys;
    CLIENT {{
        Clients = {network.subnet};
        Access_Type = RO;
    }}
    FSAL {{
        Name = VFS;
    }}
}}
"""
