"""The stand-in's own programs, run as they are by the shell they are written for."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bootsmith.formats.apk import (
    ApkEntry,
    ApkInfo,
    index_record,
    read_apk,
    write_apk,
    write_index,
)
from bootsmith.formats.signing_key import SigningKey, derive_signing_key
from bootsmith.tools.run import Completed, run_program

DATA = Path(__file__).parents[2] / "bootsmith/builders/standin_data"
INIT = DATA / "initramfs/init"
APK = DATA / "packages/apk-tools/usr/sbin/apk"
RESOLVER = DATA / "packages/apk-tools/usr/share/apk/resolve.awk"
SCAN = DATA / "packages/mkinitfs/usr/sbin/nlplug-findfs"
GENDEPENDS = DATA / "packages/openrc/usr/lib/rc/sh/gendepends.sh"
KEY_NAME = "test.rsa.pub"


def shell_programs() -> list[Path]:
    return sorted(
        path
        for path in DATA.rglob("*")
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/sbin/openrc-run"))
    )


@pytest.mark.parametrize("program", shell_programs(), ids=lambda path: path.name)
def test_shell_accepts(program: Path) -> None:
    run_program(["busybox", "sh", "-n", program])


def call_init(script: str, *words: str) -> str:
    """Standard output of `script`, which may call the functions of /init."""
    lines = f'words="$*"; set -- --functions-only; . {INIT}; {script}'
    return run_program(["busybox", "sh", "-c", lines, "sh", *words]).text


# The kernel command line (contract 3.1, 3.2)


@pytest.mark.parametrize(
    "line, name, value",
    [
        ("ip=dhcp", "ip", "dhcp"),
        ("ip=dhcp ip=off", "ip", "off"),
        ("quiet", "quiet", "yes"),
        ("noquiet", "quiet", "no"),
        ("quiet noquiet", "quiet", "no"),
        ("root=UUID=12-34", "root", "UUID=12-34"),
        ("rootflags=size=75%", "rootflags", "size=75%"),
        ("apkovl=http://h/{MAC}.apkovl.tar.gz?a=b", "apkovl", "http://h/{MAC}.apkovl.tar.gz?a=b"),
        ("modules=loop,squashfs", "modules", "loop,squashfs"),
        ("BOOTIF=01-aa-bb-01-02-00-07", "BOOTIF", "01-aa-bb-01-02-00-07"),
        # No quoting: the quotes are part of the words.
        ('init_args="a b"', "init_args", '"a'),
        ("nomodeset", "modules", ""),
        ("bootif=01-aa", "BOOTIF", ""),
        ("xquiet", "quiet", ""),
    ],
)
def test_parser(line: str, name: str, value: str) -> None:
    assert call_init(f'parse_command_line "$words"; echo "$option_{name}"', line) == f"{value}\n"


def test_words_are_not_patterns_for_files(tmp_path: Path) -> None:
    (tmp_path / "pkgs=nginx").touch()
    script = f'cd {tmp_path}; parse_command_line "$words"; echo "$option_pkgs"'
    assert call_init(script, "pkgs=*") == "*\n"


@pytest.mark.parametrize("word", ["s", "single", "1"])
def test_single_user_words(word: str) -> None:
    assert call_init('parse_command_line "$words"; echo $SINGLEMODE', f"quiet {word}") == "yes\n"


def test_consoles_are_collected_and_the_last_is_the_standard_one() -> None:
    line = "console=tty0 console=ttyS0,115200"
    script = 'parse_command_line "$words"; echo $CONSOLES; echo $LAST_CONSOLE'
    assert call_init(script, line) == "tty0 ttyS0\nttyS0\n"


def test_options_come_from_the_command_line_only_not_from_the_environment() -> None:
    lines = f'set -- --functions-only; . {INIT}; parse_command_line quiet; echo "[$option_ip]"'
    done = run_program(["busybox", "sh", "-c", lines], environment={"option_ip": "dhcp"})
    assert done.text == "[]\n"


def test_no_option_names_the_medium() -> None:
    # Current releases do not even parse it; being kinder here would hide a broken key.
    assert call_init("is_known_option alpine_dev || echo unknown") == "unknown\n"


@pytest.mark.parametrize(
    "line, answer",
    [
        ("quiet", "no"),
        ("modloop=http://h/modloop-virt", "no"),
        ("apkovl=/media/vda/x.apkovl.tar.gz", "no"),
        ("alpine_repo=/media/vda/apks", "no"),
        ("ip=dhcp", "yes"),
        ("nbd=h:10809", "yes"),
        ("apkovl=ftp://h/x.apkovl.tar.gz", "yes"),
        ("alpine_repo=/media/vda/apks,https://h/main", "yes"),
    ],
)
def test_what_brings_the_network_up(line: str, answer: str) -> None:
    script = 'parse_command_line "$words"; needs_network && echo yes || echo no'
    assert call_init(script, line) == f"{answer}\n"


@pytest.mark.parametrize(
    "option, fields",
    [
        ("10.0.2.15:10.0.2.2:10.0.2.2:255.255.255.0", "10.0.2.15|10.0.2.2|255.255.255.0|||||"),
        (":::::eth1:dhcp", "|||eth1|dhcp|||"),
        (
            "10.0.0.5::10.0.0.1:255.0.0.0:box:eth0:off:10.0.0.3:10.0.0.4:10.0.0.9",
            "10.0.0.5|10.0.0.1|255.0.0.0|eth0|off|10.0.0.3|10.0.0.4|",
        ),
    ],
)
def test_address_fields(option: str, fields: str) -> None:
    script = (
        'split_ip_option "$words"; echo "$client|$gateway|$netmask|$device|$autoconf|$dns0|$dns1|"'
    )
    assert call_init(script, option).strip() == fields.rstrip("|") + "|" * (
        7 - fields.rstrip("|").count("|")
    )


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://h/{MAC}.apkovl.tar.gz", "http://h/aa:bb:01:02:00:07.apkovl.tar.gz"),
        ("http://h/{MAC}/{MAC}.gz", "http://h/aa:bb:01:02:00:07/{MAC}.gz"),
        ("http://h/plain.gz", "http://h/plain.gz"),
        ("http://h/{HOSTNAME}.gz", "http://h/{HOSTNAME}.gz"),
    ],
)
def test_placeholders_in_the_overlay_address(url: str, expected: str) -> None:
    script = 'MAC_ADDRESS=aa:bb:01:02:00:07; fill_in_url "$words"'
    assert call_init(script, url) == f"{expected}\n"


def test_saved_overlay_name_has_no_query() -> None:
    assert call_init('saved_name "$words"', "http://h/a/x.apkovl.tar.gz?id=1/2") == (
        "/tmp/x.apkovl.tar.gz\n"
    )


# The scan for media: when there is nothing to wait for

_INTEL, _VIRTIO = "0x8086", "0x1af4"
_QUICK = {"0000:00:1f.2": ("0x010601", _INTEL), "0000:00:03.0": ("0x020000", _VIRTIO)}
"""SATA without disks and a network card: q35, diskless."""


def sysfs_of(directory: Path, cards: dict[str, tuple[str, str]], *others: str) -> Path:
    for slot, (pci_class, vendor) in cards.items():
        place = directory / "bus/pci/devices" / slot
        place.mkdir(parents=True)
        (place / "class").write_text(f"{pci_class}\n")
        (place / "vendor").write_text(f"{vendor}\n")
    for path in others:
        (directory / path).mkdir(parents=True)
    return directory


@pytest.mark.parametrize(
    "cards, others, answer",
    [
        (_QUICK, [], "no"),
        (_QUICK | {"a": ("0x010000", _VIRTIO)}, [], "no"),
        (_QUICK | {"a": ("0x010000", _INTEL)}, [], "yes"),
        (_QUICK | {"a": ("0x010802", _INTEL)}, [], "yes"),
        (_QUICK | {"a": ("0x0c0330", _INTEL)}, [], "yes"),
        (_QUICK | {"a": ("0x080501", _INTEL)}, [], "yes"),
        (_QUICK, ["bus/usb/devices/usb1"], "yes"),
        (_QUICK, ["class/mmc_host/mmc0"], "yes"),
        (_QUICK, ["bus/usb/devices", "class/mmc_host"], "no"),
        ({}, [], "yes"),
    ],
)
def test_what_may_bring_a_disk_later(
    tmp_path: Path, cards: dict[str, tuple[str, str]], others: list[str], answer: str
) -> None:
    sysfs = sysfs_of(tmp_path, cards, *others)
    lines = f"set -- --functions-only; . {SCAN}; may_bring_more && echo yes || echo no"
    environment = {"NLPLUG_SYSFS": str(sysfs)}
    assert run_program(["busybox", "sh", "-c", lines], environment=environment).text == (
        f"{answer}\n"
    )


@pytest.mark.parametrize("options, status", [(["-n"], 0), ([], 1)])
def test_only_with_a_network_nothing_is_waited_for(
    tmp_path: Path, options: list[str], status: int
) -> None:
    argv = ["busybox", "sh", SCAN, "-d", *options]
    done = run_program(
        argv,
        environment={"NLPLUG_SYSFS": str(sysfs_of(tmp_path, _QUICK))},
        accepted_statuses=[status],
    )
    assert ("nothing else can come" in done.stderr.decode()) == (status == 0)


# What the recipes name must be there


def default_boot_services() -> list[str]:
    return (
        "devfs dmesg mdev hwdrivers modloop modules sysctl hostname bootmisc syslog "
        "mount-ro killprocs savecache firstboot networking local crond"
    ).split()


def packages() -> dict[str, dict]:
    table = tomllib.loads((DATA / "packages.toml").read_text("utf-8"))
    return {package["name"]: package for package in table["package"]}


@pytest.mark.parametrize("service", default_boot_services())
def test_default_services_exist(service: str) -> None:
    own = [path.name for path in DATA.glob("packages/*/etc/init.d/*")]
    from_debian = [
        glob.rpartition("/")[2]
        for package in packages().values()
        for glob in package.get("files", [])
        if glob.startswith("/etc/init.d/")
    ]
    assert [*own, *from_debian].count(service) == 1


def test_every_dependency_is_a_package_or_provided() -> None:
    known = packages()
    provided = {
        text.partition("=")[0] for package in known.values() for text in package.get("provides", [])
    }
    for package in known.values():
        missing = [
            name
            for name in package.get("depends", [])
            if name not in known and name not in provided
        ]
        assert missing == [], package["name"]


def test_features_are_those_of_a_current_medium() -> None:
    stock = "ata base cdrom dhcp ext4 mmc nvme raid scsi squashfs usb virtio".split()
    assert tomllib.loads((DATA / "initramfs.toml").read_text("utf-8"))["features"] == stock
    lines = " ".join(path.read_text("utf-8") for path in DATA.glob("features.d/*.modules"))
    assert "drivers/net/ethernet" not in lines
    assert "fs/nfs" not in lines


def test_system_says_that_it_is_a_stand_in() -> None:
    text = (DATA / "packages/alpine-release/usr/lib/os-release").read_text("utf-8")
    assert text.splitlines()[0] == 'NAME="bootsmith stand-in (not Alpine)"'


# What OpenRC is told of services


def test_dependencies_are_told_once_for_each_service(tmp_path: Path) -> None:
    library, etc = tmp_path / "rc/sh", tmp_path / "etc"
    for path, content in {
        library / "functions.sh": "",
        library / "rc-functions.sh": (
            "_get_containers() { echo -docker -lxc; }\n"
            '_depend() { depend; [ -z "$rc_need" ] || need $rc_need; }\n'
        ),
        etc / "rc.conf": "",
        etc / "conf.d/net": "rc_need=firewall\n",
        etc / "init.d/plain": "#!/sbin/openrc-run\necho noise\n",
        etc / "init.d/net.eth0": (
            "#! /sbin/openrc-run\n"
            "depend() { need a b; use c; after '*'; before; keyword -containers -jail; }\n"
        ),
        etc / "init.d/bystander": "#!/bin/sh\nexit 1\n",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    done = run_program(
        ["busybox", "sh", GENDEPENDS, etc],
        environment={"RC_LIBEXECDIR": str(tmp_path / "rc")},
    )
    assert done.text.splitlines() == [
        "net.eth0",
        "net.eth0 ineed a b",
        "net.eth0 iuse c",
        "net.eth0 iafter *",
        "net.eth0 keyword -docker -lxc -jail",
        "net.eth0 ineed firewall",
        "plain",
    ]


# apk


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return derive_signing_key(name=KEY_NAME, seed="standin guest tests")


@pytest.fixture(scope="session")
def foreign_key() -> SigningKey:
    return derive_signing_key(name=KEY_NAME, seed="somebody else")


class Repository:
    """A repository on disk that a test fills, and a root to install into."""

    def __init__(self, directory: Path, key: SigningKey) -> None:
        self.directory = directory / "apks"
        self.root = directory / "root"
        self.key = key
        self.records = []
        (self.directory / "x86_64").mkdir(parents=True)
        (self.root / "etc/apk/keys").mkdir(parents=True)
        (self.root / "etc/apk/keys" / KEY_NAME).write_bytes(key.public_pem())

    def add(
        self,
        name: str,
        version: str = "1.0-r0",
        *,
        files: dict[str, str] | None = None,
        **info: object,
    ) -> Path:
        entries: list[ApkEntry] = []
        for path, content in (files or {f"usr/share/{name}": f"{name} {version}\n"}).items():
            for parent in reversed(Path(path).parents[:-1]):
                if all(entry.name != str(parent) for entry in entries):
                    entries.append(ApkEntry(name=str(parent), kind="directory", mode=0o755))
            entries.append(ApkEntry(name=path, data=content.encode()))
        data = write_apk(
            info=ApkInfo(name=name, version=version, **info), entries=entries, key=self.key
        )
        self.records.append(index_record(read_apk(data), file_size_bytes=len(data)))
        path = self.directory / "x86_64" / f"{name}-{version}.apk"
        path.write_bytes(data)
        return path

    def sign(self, key: SigningKey | None = None) -> None:
        index = write_index(description="test", records=self.records, key=key or self.key)
        (self.directory / "x86_64/APKINDEX.tar.gz").write_bytes(index)

    def apk(
        self,
        *arguments: str,
        status: int = 0,
        stdin: bytes | None = None,
        repository: bool = True,
    ) -> Completed:
        argv = ["busybox", "sh", APK, "--root", self.root, "--no-scripts"]
        if repository:
            argv += ["--repository", self.directory]
        return run_program(
            [*argv, *arguments],
            stdin=stdin,
            environment={"APK_RESOLVER": str(RESOLVER)},
            accepted_statuses=[status],
        )

    def installed(self) -> list[str]:
        return self.apk("info", "-v", repository=False).text.split()


@pytest.fixture
def repository(tmp_path: Path, key: SigningKey) -> Repository:
    made = Repository(tmp_path, key)
    made.apk("add", "--initdb", repository=False)
    return made


def errors_of(done: Completed) -> str:
    return done.stderr.decode()


def test_new_root_is_merged_under_usr(repository: Repository) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        assert (repository.root / name).readlink() == Path("usr") / name
    assert (repository.root / "usr/lib/apk/db/installed").is_file()


def test_dependencies_come_first(repository: Repository) -> None:
    repository.add("top", depends=("middle", "bottom"))
    repository.add("middle", depends=("bottom>=1.0",))
    repository.add("bottom", "1.2-r0")
    repository.sign()
    done = repository.apk("add", "top")
    assert [line.split()[2] for line in done.text.splitlines() if "Installing" in line] == [
        "bottom",
        "middle",
        "top",
    ]
    assert repository.installed() == ["bottom-1.2-r0", "middle-1.0-r0", "top-1.0-r0"]
    assert (repository.root / "etc/apk/world").read_text() == "top\n"
    assert (repository.root / "usr/share/top").read_text() == "top 1.0-r0\n"
    assert repository.apk("info", "-L", "top").text == "usr/share/top\n"


def test_dependencies_may_be_circular(repository: Repository) -> None:
    repository.add("a", depends=("b",))
    repository.add("b", depends=("a",))
    repository.sign()
    repository.apk("add", "a")
    assert repository.installed() == ["a-1.0-r0", "b-1.0-r0"]


def test_what_is_installed_is_not_installed_again(repository: Repository) -> None:
    repository.add("a")
    repository.add("b", depends=("a",))
    repository.sign()
    repository.apk("add", "a")
    done = repository.apk("add", "b")
    assert [line.split()[2] for line in done.text.splitlines() if "Installing" in line] == ["b"]


def test_index_of_a_foreign_key_is_refused(repository: Repository, foreign_key: SigningKey) -> None:
    repository.add("a")
    repository.sign(foreign_key)
    done = repository.apk("add", "a", status=1)
    assert errors_of(done).splitlines()[0] == (
        f"ERROR: Ignoring {repository.directory}: UNTRUSTED signature"
    )
    assert repository.installed() == []


def test_unsigned_index_is_refused(repository: Repository) -> None:
    repository.add("a")
    repository.sign()
    index = repository.directory / "x86_64/APKINDEX.tar.gz"
    data = index.read_bytes()
    index.write_bytes(data[data.index(b"\x1f\x8b\x08", 1) :])
    assert "UNTRUSTED signature" in errors_of(repository.apk("add", "a", status=1))


def test_changed_index_is_refused(repository: Repository) -> None:
    repository.add("a")
    repository.sign()
    index = repository.directory / "x86_64/APKINDEX.tar.gz"
    data = bytearray(index.read_bytes())
    data[-1] ^= 1
    index.write_bytes(data)
    assert "UNTRUSTED signature" in errors_of(repository.apk("add", "a", status=1))


def test_missing_index_is_reported(repository: Repository) -> None:
    done = repository.apk("add", "a", status=1)
    assert errors_of(done).splitlines()[0] == (
        f"ERROR: Ignoring {repository.directory}: "
        f"could not read {repository.directory}/x86_64/APKINDEX.tar.gz"
    )


def test_package_that_is_not_the_one_in_the_index_is_refused(repository: Repository) -> None:
    path = repository.add("a", summary="first")
    repository.sign()
    path.write_bytes(repository.add("a", summary="second").read_bytes())
    done = repository.apk("add", "a", status=1)
    assert errors_of(done).splitlines()[0] == (
        "ERROR: a-1.0-r0: BAD archive: its control part is not the one in the index"
    )
    assert repository.installed() == []


def test_package_with_other_files_is_refused(repository: Repository) -> None:
    path = repository.add("a")
    whole = read_apk(path.read_bytes())
    other = read_apk(repository.add("a", files={"usr/share/a": "evil\n"}).read_bytes())
    repository.records.pop()
    repository.sign()
    path.write_bytes(
        path.read_bytes()[: -len(other.data_raw)]
        .split(whole.control_raw)[0]
        .split(other.control_raw)[0]
        + whole.control_raw
        + other.data_raw
    )
    done = repository.apk("add", "a", status=1)
    assert errors_of(done).splitlines()[0] == (
        "ERROR: a-1.0-r0: BAD archive: its files are not those that were packed"
    )
    assert not (repository.root / "usr/share/a").exists()


# Many packages are proven together, what is not proven so by itself


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of what is in the test's directory, and each path that was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.rpartition("/")[2])
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/apks", asked
        server.shutdown()
        thread.join()


def test_each_file_is_fetched_once(repository: Repository, web: tuple[str, list[str]]) -> None:
    url, asked = web
    names = [f"p{number}" for number in range(5)]
    for name in names:
        repository.add(name)
    repository.sign()
    repository.apk("--repository", url, "add", *names, repository=False)
    assert repository.installed() == [f"{name}-1.0-r0" for name in names]
    assert asked == ["APKINDEX.tar.gz", *(f"{name}-1.0-r0.apk" for name in names)]


def test_packages_with_much_control_or_of_much_size_are_installed(repository: Repository) -> None:
    # Noise does not get smaller when it is packed: the head that is searched ends before the
    # data part of the first; the second is more than a batch.
    repository.add("wordy", summary=random.Random(1).randbytes(3000).hex())
    large = random.Random(2).randbytes(5 << 20).hex()
    repository.add("large", files={"usr/share/large": large})
    repository.add("small")
    repository.sign()
    repository.apk("add", "wordy", "large", "small")
    assert repository.installed() == ["large-1.0-r0", "small-1.0-r0", "wordy-1.0-r0"]
    assert (repository.root / "usr/share/large").read_text() == large


@pytest.mark.parametrize("by_http", [False, True])
def test_bad_packages_do_not_keep_good_ones_out(
    repository: Repository, web: tuple[str, list[str]], by_http: bool
) -> None:
    paths = {name: repository.add(name) for name in "abcdef"}
    repository.sign()
    cut = paths["b"].read_bytes()
    paths["b"].write_bytes(cut[: len(cut) // 2])
    paths["c"].unlink()
    paths["d"].write_bytes(paths["a"].read_bytes())
    changed = bytearray(paths["e"].read_bytes())
    changed[-9] ^= 1
    paths["e"].write_bytes(changed)
    where = ["--repository", web[0]] if by_http else []
    done = repository.apk(*where, "add", *"abcdef", repository=not by_http, status=1)
    assert errors_of(done).splitlines() == [
        "ERROR: b-1.0-r0: BAD archive: its control part is not the one in the index",
        "ERROR: c-1.0-r0: package mentioned in index not found (try 'apk update')",
        "ERROR: d-1.0-r0: BAD archive: its control part is not the one in the index",
        "ERROR: e-1.0-r0: BAD archive: its files are not those that were packed",
        "4 error(s); 0 MiB in 2 packages",
    ]
    assert repository.installed() == ["a-1.0-r0", "f-1.0-r0"]
    assert sorted(path.name for path in (repository.root / "usr/share").iterdir()) == ["a", "f"]


@pytest.mark.parametrize("part, what", [("control", "its control part"), ("data", "its files")])
def test_a_changed_byte_is_refused_beside_good_packages(
    repository: Repository, web: tuple[str, list[str]], part: str, what: str
) -> None:
    url, asked = web
    paths = {name: repository.add(name) for name in "abc"}
    repository.sign()
    whole = read_apk(paths["b"].read_bytes())
    changed = bytearray(paths["b"].read_bytes())
    # In the header of a gzip member, which says when: what is in the member stays the same.
    behind = len(whole.data_raw) + (len(whole.control_raw) if part == "control" else 0)
    changed[-behind + 4] ^= 1
    paths["b"].write_bytes(changed)
    done = repository.apk("--repository", url, "add", *"abc", repository=False, status=1)
    assert errors_of(done).startswith(f"ERROR: b-1.0-r0: BAD archive: {what}")
    assert repository.installed() == ["a-1.0-r0", "c-1.0-r0"]
    assert sorted(asked[1:]) == [f"{name}-1.0-r0.apk" for name in "abbc"]


def test_missing_package_stops_everything(repository: Repository) -> None:
    repository.add("a")
    repository.sign()
    done = repository.apk("add", "a", "nothing", status=1)
    assert errors_of(done) == (
        "ERROR: unable to select packages:\n"
        "  nothing (no such package):\n"
        "    required by: world[nothing]\n"
    )
    assert repository.installed() == []
    assert (repository.root / "etc/apk/world").read_text() == ""


def test_diskless_boot_installs_what_can_be_had_and_still_reports(
    repository: Repository,
) -> None:
    repository.add("a")
    repository.sign()
    done = repository.apk("add", "--initramfs-diskless-boot", "a", "nothing", status=1)
    assert "nothing (no such package):" in errors_of(done)
    assert repository.installed() == ["a-1.0-r0"]


def test_dependency_that_no_version_fits(repository: Repository) -> None:
    repository.add("a", "1.0-r0")
    repository.add("b", depends=("a>2",))
    repository.sign()
    assert "a (no version fits):" in errors_of(repository.apk("add", "b", status=1))


@pytest.mark.parametrize(
    "constraint, chosen",
    [
        ("a", "2.10-r1"),
        ("a<2.10", "2.9_p1-r0"),
        ("a<=2.9-r3", "2.9-r3"),
        ("a=2.9_rc2-r0", "2.9_rc2-r0"),
        ("a>2.9_rc1", "2.10-r1"),
        ("a<2.9-r0", "2.9_rc2-r0"),
        ("a~2.9", "2.9-r3"),
        ("a<2.9_p1-r0", "2.9-r3"),
    ],
)
def test_versions(repository: Repository, constraint: str, chosen: str) -> None:
    for version in ("2.9_rc2-r0", "2.9-r3", "2.9_p1-r0", "2.10-r1"):
        repository.add("a", version)
    repository.sign()
    repository.apk("add", constraint)
    assert repository.installed() == [f"a-{chosen}"]


def test_name_provided_with_a_version_selects_its_provider(repository: Repository) -> None:
    repository.add("real", provides=("virtual=3",))
    repository.add("user", depends=("virtual>=2",))
    repository.sign()
    repository.apk("add", "user")
    assert repository.installed() == ["real-1.0-r0", "user-1.0-r0"]


def test_name_provided_without_a_version_selects_nothing(repository: Repository) -> None:
    repository.add("real", provides=("virtual",))
    repository.add("user", depends=("virtual",))
    repository.sign()
    assert "virtual (no version fits):" in errors_of(repository.apk("add", "user", status=1))
    # … unless the package is chosen for another reason.
    repository.apk("add", "real", "user")
    assert repository.installed() == ["real-1.0-r0", "user-1.0-r0"]


def test_companion_comes_along(repository: Repository) -> None:
    repository.add("a")
    repository.add("b")
    repository.add("a-b", install_if=("a", "b"))
    repository.sign()
    repository.apk("add", "a")
    assert repository.installed() == ["a-1.0-r0"]
    repository.apk("add", "b")
    assert repository.installed() == ["a-1.0-r0", "a-b-1.0-r0", "b-1.0-r0"]


def test_conflict_is_reported(repository: Repository) -> None:
    repository.add("a", depends=("!b",))
    repository.add("b")
    repository.sign()
    assert "conflicts: a-1.0-r0[!b]" in errors_of(repository.apk("add", "a", "b", status=1))


def write_overlay_file(repository: Repository, path: str, content: str) -> None:
    target = repository.root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)


def add_with_overlay(repository: Repository, names: Sequence[str], listed: Sequence[str]) -> None:
    repository.apk(
        "add",
        "--initramfs-diskless-boot",
        "--clean-protected",
        "--overlay-from-stdin",
        *names,
        stdin="".join(f"{name}\n" for name in listed).encode(),
    )


def test_overlay_files_win_over_packages(repository: Repository) -> None:
    files = {"etc/a.conf": "package\n", "usr/share/a/odd [name]": "package\n"}
    repository.add("a", files={**files, "usr/share/a/other": "package\n"})
    repository.sign()
    for path in files:
        write_overlay_file(repository, path, "overlay\n")
    add_with_overlay(repository, ["a"], ["etc/", *files])
    for path in files:
        assert (repository.root / path).read_text() == "overlay\n"
    assert (repository.root / "usr/share/a/other").read_text() == "package\n"
    assert not list(repository.root.rglob("*.apk-new"))


def test_line_without_a_slash_ends_the_overlay_list(repository: Repository) -> None:
    files = {"usr/share/one": "package\n", "usr/share/two": "package\n"}
    repository.add("a", files=files)
    repository.sign()
    for path in files:
        write_overlay_file(repository, path, "overlay\n")
    add_with_overlay(repository, ["a"], ["usr/share/one", "etc", "usr/share/two"])
    assert (repository.root / "usr/share/one").read_text() == "overlay\n"
    assert (repository.root / "usr/share/two").read_text() == "package\n"


def test_protected_file_stays_and_the_new_one_is_kept_beside(repository: Repository) -> None:
    repository.add("a", files={"etc/a.conf": "package\n"})
    repository.sign()
    write_overlay_file(repository, "etc/a.conf", "mine\n")
    repository.apk("add", "a")
    assert (repository.root / "etc/a.conf").read_text() == "mine\n"
    assert (repository.root / "etc/a.conf.apk-new").read_text() == "package\n"


def test_repositories_file_of_the_root_counts(repository: Repository) -> None:
    repository.add("a")
    repository.sign()
    (repository.root / "etc/apk/repositories").write_text(f"# medium\n{repository.directory}\n")
    repository.apk("add", "a", repository=False)
    assert repository.installed() == ["a-1.0-r0"]


def test_network_repositories_are_left_out_when_there_is_no_network(
    repository: Repository,
) -> None:
    repository.add("a")
    repository.sign()
    (repository.root / "etc/apk/repositories").write_text("http://127.0.0.1:1/main\n")
    repository.apk("add", "--no-network", "a")
    assert repository.installed() == ["a-1.0-r0"]


def test_verify_tells_our_packages_from_others(
    repository: Repository, tmp_path: Path, foreign_key: SigningKey
) -> None:
    ours = repository.add("a")
    theirs = Repository(tmp_path / "other", foreign_key).add("a")
    done = repository.apk("verify", str(ours), str(theirs), status=1)
    assert done.text == f"{ours}: 0 - OK\n{theirs}: 1 - UNTRUSTED\n"


def test_untrusted_packages_cannot_be_allowed(repository: Repository) -> None:
    done = repository.apk("--allow-untrusted", "add", "a", status=1)
    assert errors_of(done) == "ERROR: --allow-untrusted is not supported by the stand-in\n"


def test_root_without_database_is_refused(tmp_path: Path, key: SigningKey) -> None:
    done = Repository(tmp_path, key).apk("add", "a", status=1)
    assert errors_of(done) == (
        f"ERROR: Unable to open the package database of {tmp_path}/root: run with --initdb first\n"
    )


# Boots of the real thing


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """A directory with release.iso of flavor virt, its vmlinuz-virt and initramfs-virt."""
    from bootsmith.builders.standin import build_standin, fetch_packages, resolve_packages

    work = tmp_path_factory.mktemp("standin")
    lock, manifest, debs = work / "lock", work / "manifest", work / "debs"
    resolve_packages(
        data=DATA,
        pinned=checkout / "recipes/releases/standin.lock",
        flavors=["virt"],
        state=work / "apt",
        output=lock,
    )
    fetch_packages(lock=lock, state=work / "apt", packages=debs, manifest=manifest)
    build_standin(
        lock=lock,
        manifest=manifest,
        packages=debs,
        data=DATA,
        release="3.24.0",
        flavors=["virt"],
        output=work / "release.iso",
        report=work / "report.json",
    )
    for name in ("vmlinuz-virt", "initramfs-virt"):
        pick = ["-extract", f"/boot/{name}", work / name]
        run_program(["xorriso", "-osirrox", "on", "-indev", work / "release.iso", *pick])
    return work


# The guest says what became of it and ends, whatever else it does.
PROOF = """#!/bin/sh
(
	while [ -e /run/openrc/rc.starting ]; do sleep 1; done
	set -- $(grep ' /.modloop ' /proc/mounts)
	words="$(hostname) $(rc-status -r) modloop=${1:-none} motd=$(cat /etc/motd)"
	echo "proof $words end" > /dev/console
	sync
	echo o > /proc/sysrq-trigger
) &
"""


@pytest.fixture(scope="module")
def overlay_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FAT disk with an overlay in its root, and the same overlay under sub/other."""
    work = tmp_path_factory.mktemp("overlay")
    tree = work / "tree"
    for path, content in {
        "etc/hostname": "proven\n",
        "etc/motd": "overlay\n",
        "etc/local.d/proof.start": PROOF,
        "etc/.default_boot_services": "",
        "etc/apk/world": "dropbear\n",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    (tree / "etc/local.d/proof.start").chmod(0o755)
    (tree / "etc/runlevels/default").mkdir(parents=True)
    (tree / "etc/runlevels/default/local").symlink_to("/etc/init.d/local")
    overlay = work / "proven.apkovl.tar.gz"
    run_program(["tar", "-czf", overlay, "--owner=0", "--group=0", "-C", tree, "etc"])
    disk = work / "disk.img"
    run_program(["truncate", "-s", "40M", disk])
    run_program(["mkfs.vfat", "-F", "32", disk])
    run_program(["mmd", "-i", disk, "::sub"])
    run_program(["mcopy", "-i", disk, overlay, "::proven.apkovl.tar.gz"])
    run_program(["mcopy", "-i", disk, overlay, "::sub/other.gz"])
    return disk


def boot(medium: Path, words: str, *disks: Path) -> str:
    """The console of a guest that ends by itself."""
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", "768", "-nographic", "-no-reboot"]
    argv += ["-nic", "none", "-kernel", str(medium / "vmlinuz-virt")]
    argv += ["-initrd", str(medium / "initramfs-virt"), "-append", f"console=ttyS0 {words}"]
    for disk in disks:
        argv += ["-drive", f"if=virtio,format=raw,readonly=on,file={disk}"]
    return run_program(argv, timeout_seconds=900).stdout.decode("utf-8", "replace")


@pytest.mark.boot
@pytest.mark.network
@pytest.mark.xdist_group("standin-guest")
def test_boots_with_the_overlay_that_the_scan_finds(medium: Path, overlay_disk: Path) -> None:
    console = boot(medium, "quiet", medium / "release.iso", overlay_disk)
    assert "proof proven default modloop=/dev/loop0 motd=overlay end" in console
    assert "ERROR" not in console


@pytest.mark.boot
@pytest.mark.network
@pytest.mark.xdist_group("standin-guest")
def test_boots_with_the_overlay_that_is_named(medium: Path, overlay_disk: Path) -> None:
    words = "quiet apkovl=/dev/vdb:vfat:sub/other.gz modloop=none pkgs=nothing"
    console = boot(medium, words, medium / "release.iso", overlay_disk)
    assert "proof proven default modloop=none motd=overlay end" in console
    assert "nothing (no such package):" in console


@pytest.mark.boot
@pytest.mark.network
@pytest.mark.xdist_group("standin-guest")
def test_no_medium_is_a_failure(medium: Path, overlay_disk: Path) -> None:
    # An overlay alone is nothing to boot from. With panic= there is no recovery shell to
    # wait in: init ends, and the kernel with it.
    console = boot(medium, "quiet panic=1", overlay_disk)
    assert "Mounting boot media failed." in console
    assert "Kernel panic - not syncing: Attempted to kill init!" in console
    assert "proof" not in console
