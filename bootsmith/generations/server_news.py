"""Which servers have to be told that another generation is served, and how (docs/servers.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bootsmith.formats import (
    dns_zone,
    dnsmasq_conf,
    ganesha_conf,
    isc_dhcpd_conf,
    kea_conf,
    nbd_conf,
    nfs_exports,
    nginx_conf,
    tftpd_conf,
)
from bootsmith.formats.netboot_tree import NetbootTree

_CONF = "conf/"
_ZONES = "db."


@dataclass(frozen=True, kw_only=True)
class _Server:
    """What tells it; `reloads` is enough where only these of its files changed."""

    name: str
    files: tuple[str, ...]
    told_by: str
    reloads: tuple[str, ...] = ()
    reloaded_by: str = ""


_SERVERS = (
    _Server(
        name="dnsmasq",
        files=(
            dnsmasq_conf.CONF_NAME,
            dnsmasq_conf.DHCP_HOSTS_NAME,
            dnsmasq_conf.NAMES_NAME,
        ),
        told_by="systemctl restart dnsmasq",
        reloads=(dnsmasq_conf.DHCP_HOSTS_NAME, dnsmasq_conf.NAMES_NAME),
        reloaded_by="systemctl reload dnsmasq",
    ),
    _Server(
        name="ISC dhcpd",
        files=(isc_dhcpd_conf.CONF_NAME, isc_dhcpd_conf.DEFAULTS_NAME),
        told_by="install it again, systemctl restart isc-dhcp-server",
    ),
    _Server(
        name="Kea",
        files=(kea_conf.CONF_NAME,),
        told_by="install it again, systemctl restart kea-dhcp4-server",
    ),
    _Server(
        name="tftpd-hpa",
        files=(tftpd_conf.CONF_NAME,),
        told_by="install it again, systemctl restart tftpd-hpa",
    ),
    _Server(name="nginx", files=(nginx_conf.CONF_NAME,), told_by="systemctl restart nginx"),
    _Server(
        name="nfs-ganesha",
        files=(ganesha_conf.CONF_NAME,),
        told_by="systemctl restart nfs-ganesha",
    ),
    _Server(name="kernel's NFS", files=(nfs_exports.CONF_NAME,), told_by="exportfs -ra"),
    _Server(name="BIND", files=(dns_zone.CONF_NAME, _ZONES), told_by="rndc reload"),
    _Server(name="nbd-server", files=(nbd_conf.CONF_NAME,), told_by="pkill -HUP nbd-server"),
)


def server_news(before: NetbootTree, after: NetbootTree) -> tuple[str, ...]:
    """A heading, then a line a server whose files differ; nothing where none does.

    A text that only names its generation is the same: servers go on with what they read.
    """
    changed = sorted(
        path.removeprefix(_CONF)
        for path in {*before.paths, *after.paths}
        if path.startswith(_CONF) and _said(before, path) != _said(after, path)
    )
    rows = list(_rows(changed))
    if not rows:
        return ()
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return (
        "configurations of servers changed; tell those that run there (docs/servers.md):",
        *(f"  {name:<{widths[0]}}  {files:<{widths[1]}}  {told}" for name, files, told in rows),
    )


def _said(tree: NetbootTree, path: str) -> object:
    return tree.texts.get(path), tree.files.get(path), tree.links.get(path)


def _rows(changed: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for server in _SERVERS:
        own = [
            name
            for name in changed
            if name in server.files or (_ZONES in server.files and name.startswith(_ZONES))
        ]
        if own:
            is_enough = bool(server.reloads) and set(own) <= set(server.reloads)
            yield server.name, ", ".join(own), server.reloaded_by if is_enough else server.told_by
