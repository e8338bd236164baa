"""A head node and its wire, for machines that boot from the network and through nothing else.

Everything is on a network of its own: a bridge with the name and the address that `[netboot]`
says, a serving root laid as `doit publish` lays it, and real servers. They are started with the
files of the generation's own `netboot/conf/`, as they are. The wire has an IPv6 router that offers
nothing, as most networks have one; else iPXE waits for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bootsmith.errors import SmokeError
from bootsmith.formats import (
    dns_zone,
    dnsmasq_conf,
    ganesha_conf,
    isc_dhcpd_conf,
    kea_conf,
    nginx_conf,
    tftpd_conf,
)
from bootsmith.formats.netboot_network import ARMED, CURRENT, Network
from bootsmith.site.network_guest import Servers
from bootsmith.tools import fcgiwrap
from bootsmith.tools.dnsmasq import running_dnsmasq
from bootsmith.tools.ganesha import running_ganesha
from bootsmith.tools.isc_dhcpd import running_isc_dhcpd
from bootsmith.tools.kea import running_kea
from bootsmith.tools.named import running_named
from bootsmith.tools.nginx import serving_site
from bootsmith.tools.rpcbind import running_rpcbind
from bootsmith.tools.run import run_program
from bootsmith.tools.silent_router import running_silent_router
from bootsmith.tools.tftpd import running_tftpd
from bootsmith.tools.unshare import Bridge, Place, private_network

_NEEDED_BY = "smoke tests that boot from the network"
NETWORK_LOG, ROUTER_LOG = "network.log", "router.log"
LOGS = (
    NETWORK_LOG,
    ROUTER_LOG,
    *(f"{name}.log" for name in ("dnsmasq", "dhcp", "tftp", "dns", "http", "rpcbind", "nfs")),
)
"""What servers leave beside the consoles' logs; each only those that ran."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A running head node."""

    inside: Sequence[str]
    """The words that start a program on its network, for `running_program(inside=…)`."""
    root: Path
    """The serving root, as it is seen outside."""
    network: Network

    def check_names(self, addresses: Mapping[str, str]) -> None:
        """SmokeError unless names lead to these addresses, and addresses to the names."""
        for name, address in addresses.items():
            full = f"{name}.{self.network.domain}"
            for asked, wanted in ((full, f"Address: {address}"), (address, f"name = {full}")):
                argv = ["env", *self.inside, "busybox", "nslookup", asked, self.network.server]
                answer = run_program(argv, accepted_statuses=(0, 1)).text
                if wanted not in (line.rpartition("\t")[2] for line in answer.splitlines()):
                    raise SmokeError(
                        f"name server of {self.network.domain}",
                        f"does not know {asked}",
                        expected=wanted,
                        got=" ".join(answer.split()) or "no answer",
                        hint="read dns.log or dnsmasq.log beside the console's log",
                    )


@contextmanager
def running_lab(
    generation: Path,
    *,
    network: Network,
    servers: Servers,
    guests: int,
    scratch: Path,
    logs: Path,
    places: Sequence[Place] = (),
    nfs_configuration: Path | None = None,
) -> Iterator[Lab]:
    """Serve `generation` to a wire with `guests` ends, for as long as the block lasts.

    `scratch` is an empty directory, best on the file system of the generation; `logs` gets what
    the servers say. `places` are on the head node besides; `nfs_configuration` is for one that
    exports more, and includes the generation's. SmokeError for a generation without netboot tree;
    ToolMissing or ToolFailed where a server does not start.
    """
    for name in LOGS:
        (logs / name).unlink(missing_ok=True)
    root = lay_serving_root(_made(scratch / "root"), generation)
    taps = tuple(map(tap_name, range(guests)))
    bits = network.subnet.partition("/")[2]
    with ExitStack() as stack:
        inside = stack.enter_context(
            private_network(
                log=logs / NETWORK_LOG,
                needed_by=_NEEDED_BY,
                bridge=Bridge(
                    name=network.interface, address=f"{network.server}/{bits}", taps=taps
                ),
                places=[Place(directory=Path(network.root), shows=root), *places],
            )
        )
        start = _Starter(network, inside, _made(scratch / "servers"), logs, nfs_configuration)
        stack.enter_context(
            running_silent_router(log=logs / ROUTER_LOG, inside=inside, needed_by=_NEEDED_BY)
        )
        for server in _constellation(servers):
            stack.enter_context(server(start))
        yield Lab(inside=inside, root=root, network=network)


def tap_name(guest: int) -> str:
    """The end of the wire for a guest, counted from 0."""
    return f"guest{guest}"


def lay_serving_root(root: Path, generation: Path) -> Path:
    """Make the empty directory `root` what a head node serves: `generation` is its current one.

    Files are second names of the generation's own where the file system allows it.
    """
    tree = generation / "netboot"
    if not tree.is_dir():
        raise SmokeError(
            f"generation {generation.name}",
            "has nothing for machines that boot from the network",
            expected="netboot/ in it",
            hint="add [netboot] to recipes/site.toml; then doit build",
        )
    place = root / "generations" / generation.name
    place.mkdir(parents=True)
    shutil.copytree(tree, place / "netboot", symlinks=True, copy_function=_second_name)
    (root / "current").symlink_to(f"generations/{generation.name}")
    (root / ARMED).mkdir()
    for directory in (root, root / "generations", place, root / ARMED):
        directory.chmod(0o755)  # servers read as users of their own, whatever our umask is
    _let_hook_write(root / ARMED)
    return root


def _let_hook_write(armed: Path) -> None:
    """As `doit publish` and `doit arm` do where they make it: who is done disarms itself."""
    if os.geteuid() == 0:
        with suppress(LookupError):  # no web server's group, so no hook either
            shutil.chown(armed, group=fcgiwrap.USER)
            armed.chmod(0o2775)


def _second_name(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


@dataclass(frozen=True)
class _Starter:
    """What every server is started with."""

    network: Network
    inside: Sequence[str]
    scratch: Path
    logs: Path
    nfs_configuration: Path | None

    def conf(self, name: str) -> Path:
        """A file of the generation's own, as it is."""
        return Path(self.network.root, CURRENT, "conf", name)

    def own(self, name: str) -> Path:
        """An empty directory for a server's own files."""
        return _made(self.scratch / name)


def _dnsmasq(start: _Starter) -> AbstractContextManager[object]:
    return running_dnsmasq(
        start.conf(dnsmasq_conf.CONF_NAME),
        log=start.logs / "dnsmasq.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _dhcpd(start: _Starter) -> AbstractContextManager[object]:
    return running_isc_dhcpd(
        start.conf(isc_dhcpd_conf.CONF_NAME),
        interface=start.network.interface,
        scratch=start.own("dhcpd"),
        log=start.logs / "dhcp.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _kea(start: _Starter) -> AbstractContextManager[object]:
    return running_kea(
        start.conf(kea_conf.CONF_NAME),
        scratch=start.own("kea"),
        log=start.logs / "dhcp.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _tftpd(start: _Starter) -> AbstractContextManager[object]:
    return running_tftpd(
        start.conf(tftpd_conf.CONF_NAME),
        log=start.logs / "tftp.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _named(start: _Starter) -> AbstractContextManager[object]:
    return running_named(
        start.conf(dns_zone.CONF_NAME),
        address=start.network.server,
        scratch=start.own("named"),
        log=start.logs / "dns.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _nginx(start: _Starter) -> AbstractContextManager[object]:
    return serving_site(
        start.conf(nginx_conf.CONF_NAME),
        port=start.network.http_port,
        address=start.network.server,
        scratch=start.own("nginx"),
        log=start.logs / "http.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _rpcbind(start: _Starter) -> AbstractContextManager[object]:
    return running_rpcbind(
        log=start.logs / "rpcbind.log", inside=start.inside, needed_by=_NEEDED_BY
    )


def _ganesha(start: _Starter) -> AbstractContextManager[object]:
    return running_ganesha(
        start.nfs_configuration or start.conf(ganesha_conf.CONF_NAME),
        scratch=start.own("ganesha"),
        log=start.logs / "nfs.log",
        inside=start.inside,
        needed_by=_NEEDED_BY,
    )


def _constellation(
    servers: Servers,
) -> tuple[Callable[[_Starter], AbstractContextManager[object]], ...]:
    both = (_nginx, _rpcbind, _ganesha)
    if servers == "dnsmasq":
        return (_dnsmasq, *both)
    return (_kea if servers == "kea" else _dhcpd, _tftpd, _named, *both)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
