"""New hosts in recipes/hosts.toml, and MAC addresses for them: `doit new host`, `doit mac`."""

from __future__ import annotations

import stat

import pytest
from inventory_site import HOSTS, SITE, write_inventory_site

from bootsmith.drafts.mac_address import make_mac
from bootsmith.drafts.new import write_new
from bootsmith.errors import RecipeError
from bootsmith.formats.inventory import Host
from bootsmith.site.inventory import resolve
from bootsmith.site.inventory_explain import fleet_of, surroundings_of
from bootsmith.site.loader import load_site

NEXT = "\n  next: "
USAGE = "doit mac new TEMPLATE [--level LEVEL] [--add NAME]"


@pytest.fixture
def root(tmp_path):
    return write_inventory_site(tmp_path)


def hosts(root):
    """Every host of the inventory, by its name."""
    site = load_site(root)
    return {host.name: host for host in resolve(fleet_of(site), surroundings_of(site)).hosts}


# --- new MAC addresses -------------------------------------------------------------------


def mac(root, *operands, level=None, add=None):
    """What `doit mac` prints."""
    said = []
    make_mac(site=load_site(root), operands=operands, level=level, add=add, say=said.append)
    return said


def refusal(root, *operands, **options):
    with pytest.raises(RecipeError) as caught:
        mac(root, *operands, **options)
    return str(caught.value)


def test_the_next_one_is_behind_the_last_one_wherever_it_is_said(root):
    assert mac(root, "new", "web", level="service") == ["aa:bb:02:10:00:0a"]
    assert mac(root, "new", "web", level="infra") == ["aa:bb:01:10:00:01"]


def test_a_single_level_needs_no_word(root):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text(recipe.read_text().replace("infra = 1, ", ""))
    assert mac(root, "new", "web") == ["aa:bb:02:10:00:0a"]


def test_adding_makes_it_a_host(root):
    recipe = root / "recipes/hosts.toml"
    recipe.chmod(0o640)
    before = recipe.read_text()
    assert mac(root, "new", "web", level="service", add="web-3") == [
        "aa:bb:02:10:00:0a is host web-3 now: recipes/hosts.toml:13"
    ]
    assert recipe.read_text() == f'{before}\n[host.web-3]\nmac = "aa:bb:02:10:00:0a"\n'
    assert recipe.read_text().splitlines()[12] == "[host.web-3]"
    assert stat.S_IMODE(recipe.stat().st_mode) == 0o640
    assert mac(root, "new", "web", level="service", add="web-4")[0].startswith("aa:bb:02:10:00:0b")
    assert sorted(hosts(root)) == ["web-1", "web-2", "web-3", "web-4"]


def test_adding_to_a_recipe_that_ends_without_a_line_end_or_is_a_link(root):
    recipe, real = root / "recipes/hosts.toml", root / "shared.toml"
    real.write_text(recipe.read_text().rstrip())
    recipe.unlink()
    recipe.symlink_to(real)
    mac(root, "new", "web", level="infra", add="web-3")
    assert recipe.is_symlink()
    assert real.read_text().endswith('format = "csv"\n\n[host.web-3]\nmac = "aa:bb:01:10:00:01"\n')


@pytest.mark.parametrize(
    "operands, options, message",
    [
        ((), {}, f"doit mac: says not what to do; expected {USAGE}{NEXT}doit mac --help"),
        (
            ("old", "web"),
            {},
            f"doit mac: is not said so; expected {USAGE}, got old web{NEXT}doit mac --help",
        ),
        (
            ("new",),
            {},
            f"doit mac: is not said so; expected {USAGE}, got new{NEXT}doit mac --help",
        ),
        (
            ("new", "wbe"),
            {"level": "infra"},
            'doit mac: the convention has no such template; expected web, got "wbe"'
            f'{NEXT}write "web", or give it a byte in [mac] of recipes/hosts.toml',
        ),
        (
            ("new", "web"),
            {},
            f"doit mac: there are several levels; expected --level infra or service{NEXT}{USAGE}",
        ),
        (
            ("new", "web"),
            {"level": "low"},
            'doit mac: the convention has no such level; expected infra or service, got "low"'
            f"{NEXT}give it a byte in [mac] of recipes/hosts.toml",
        ),
        (
            ("new", "web"),
            {"level": "infra", "add": "web-1"},
            "doit mac --add: another host has this name; expected each name once, "
            f'got "web-1", also at recipes/hosts.toml:6: host.web-1{NEXT}'
            "correct or remove one of the two",
        ),
        (
            ("new", "web"),
            {"level": "infra", "add": "Web"},
            "doit mac --add: bad value; expected a host name without its domain: lower-case "
            f'letters, digits and inner dashes, at most 63, got "Web"{NEXT}correct it; '
            "docs/recipes.md describes every key",
        ),
        (
            ("new", "web"),
            {"level": "infra", "add": "head"},
            "doit mac --add: is no name for a host; expected another name than head and "
            f'localhost, got "head"{NEXT}rename the host',
        ),
    ],
)
def test_what_cannot_be_made(root, operands, options, message):
    before = (root / "recipes/hosts.toml").read_text()
    assert refusal(root, *operands, **options) == message
    assert (root / "recipes/hosts.toml").read_text() == before


def test_there_must_be_a_convention(root):
    (root / "recipes/hosts.toml").write_text("")
    assert refusal(root, "new", "web") == (
        "recipes/hosts.toml: says no convention for MAC addresses; expected a table [mac]"
        f"{NEXT}add one; docs/inventory.md describes it"
    )


def test_serials_may_be_used_up(root):
    rows = "".join(f"n{at},AA:BB:01:10:{at >> 8:02x}:{at & 255:02x}\n" for at in range(1, 1 << 16))
    (root / "recipes/hosts/more.csv").write_text(f"name,mac\n{rows}")
    assert refusal(root, "new", "web", level="infra") == (
        "doit mac: no serial is free behind aa:bb:01:10; expected one of 1 to 65535"
        f"{NEXT}give the template another byte, or remove hosts that are no more"
    )


def test_hosts_that_are_written_in_one_table_are_not_added_to(root):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text(
        'host = { a = { mac = "AA:BB:01:10:00:01" } }\n' + HOSTS[: HOSTS.index("[host")]
    )
    before = recipe.read_text()
    assert refusal(root, "new", "web", level="infra", add="b") == (
        "recipes/hosts.toml: writes hosts so that no table [host.NAME] can follow; expected "
        f"each host as a table of its own{NEXT}add the host there yourself: "
        'b = { mac = "aa:bb:01:10:00:02" }'
    )
    assert recipe.read_text() == before


def test_a_site_without_netboot_has_no_inventory(root):
    (root / "recipes/site.toml").write_text(SITE)
    assert refusal(root, "new", "web") == (
        "doit mac: this site has no inventory: recipes/site.toml has no table [netboot]"
        f"{NEXT}add [netboot]; docs/inventory.md describes it"
    )


# --- doit new host -----------------------------------------------------------------------

NEW_USAGE = "doit new host NAME --template TEMPLATE [--mac MAC | --level LEVEL] [--address ADDRESS]"


def new(root, name, **options):
    """What `doit new host` prints."""
    said = []
    write_new(site=load_site(root), operands=("host", name), say=said.append, **options)
    return said


def new_refusal(root, name, **options):
    with pytest.raises(RecipeError) as caught:
        new(root, name, **options)
    return str(caught.value)


def test_a_host_with_the_next_mac(root):
    recipe = root / "recipes/hosts.toml"
    recipe.chmod(0o640)
    before = recipe.read_text()
    assert new(root, "db-1", template="web", level="service", address="10.20.1.9") == [
        "aa:bb:02:10:00:0a is host db-1 now, with 10.20.1.9: recipes/hosts.toml:15",
        "next: doit && doit explain-host db-1",
        "      then doit publish, and reload the DHCP server (docs/servers.md)",
    ]
    added = recipe.read_text().removeprefix(before)
    assert (
        added
        == """
# What is commented out is inherited: doit explain-host db-1 says what, and docs/recipes.md what
# each key is for.
[host.db-1]
mac = "aa:bb:02:10:00:0a"
address = "10.20.1.9"
template = "web"
#management =   # The address of its management controller (AMT, IPMI): NAME-mgmt in the zone
#group =        # The group that it belongs to
#boot =         # template boots what the template says; disk hands on to the machine's own disk: \
"template" or "disk"
#install =      # The installer, or template, that machines boot once while armed (doit arm); none \
for none
#loader =       # What BIOS machines load first: "pxelinux", "lpxelinux" or "ipxe"
#uefi_loader =  # What UEFI machines load first: "ipxe" or "grub"
#media =        # Where packages and modloop come from: "http" or "nfs"
#options =      # Kernel words, added to those of the levels before
#overlays =     # Overlays laid over those of the template and of the levels before
#values =       # Words of the site's own, which the machine finds in its overlay; added to those \
of the levels before
""".replace("\\\n", "")
    )
    assert recipe.read_text().splitlines()[14] == "[host.db-1]"
    assert stat.S_IMODE(recipe.stat().st_mode) == 0o640
    assert hosts(root)["db-1"] == Host(
        name="db-1", mac="aa:bb:02:10:00:0a", address="10.20.1.9", template="web"
    )


def test_a_host_with_its_own_mac_needs_no_convention(root):
    (root / "recipes/hosts.toml").write_text("")
    said = new(root, "db-1", template="web", mac="0200.0000.0001")
    assert said[0] == "02:00:00:00:00:01 is host db-1 now, with no address: recipes/hosts.toml:3"
    site = root / "recipes/site.toml"
    site.write_text(f'{site.read_text()}pool = ["10.20.9.1", "10.20.9.9"]\n')
    said = new(root, "db-2", template="web", mac="02:00:00:00:00:02")
    assert "02 is host db-2 now, with an address of the pool: " in said[0]
    assert sorted(hosts(root)) == ["db-1", "db-2"]


def test_line_ends_stay_as_they_are(root):
    recipe = root / "recipes/hosts.toml"
    before = recipe.read_bytes().replace(b"\n", b"\r\n")
    recipe.write_bytes(before)
    new(root, "db-1", template="web", level="infra")
    assert recipe.read_bytes().startswith(before)


def test_every_key_may_be_uncommented_where_it_stands(root):
    new(root, "db-1", template="web", level="infra")
    recipe = root / "recipes/hosts.toml"
    values = {
        "address": '"10.20.1.9"',
        "management": '"10.99.0.1"',
        "boot": '"disk"',
        "install": '"none"',
        "loader": '"ipxe"',
        "uefi_loader": '"grub"',
        "media": '"http"',
        "options": '["quiet"]',
        "overlays": '["base"]',
        "values": '{ rack = "1" }',
    }
    text = recipe.read_text()
    for key, value in values.items():
        assert text.count(f"\n#{key} =") == 1
        text = text.replace(f"\n#{key} =", f"\n{key} = {value}")
    recipe.write_text(text)
    host = hosts(root)["db-1"]
    assert (host.boot, host.management, host.values) == ("disk", "10.99.0.1", {"rack": "1"})


INFRA = {"template": "web", "level": "infra"}


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("db-1", {}, f"doit new host: which template?; expected --template web{NEXT}{NEW_USAGE}"),
        (
            "db-1",
            {"template": "wbe"},
            "doit new host --template: there is no such template; expected web, "
            f'got "wbe"{NEXT}write "web", or add one: doit new template wbe',
        ),
        (
            "db-1",
            {"template": "web"},
            "doit new host: there are several levels; expected --level infra or service"
            f"{NEXT}{NEW_USAGE}",
        ),
        (
            "db-1",
            {"template": "web", "level": "sevice"},
            "doit new host: the convention has no such level; expected infra or service, "
            f'got "sevice"{NEXT}write "service", or give it a byte in [mac] of recipes/hosts.toml',
        ),
        (
            "db-1",
            {**INFRA, "mac": "02:00:00:00:00:01"},
            f"doit new host --level: is of no use with --mac{NEXT}leave one of the two out",
        ),
        (
            "db-1",
            {"template": "web", "mac": "02:00"},
            "doit new host --mac: is not a MAC address: it has 2 bytes and not 6; expected a MAC "
            'address like "52:54:00:12:34:56", got "02:00"'
            f"{NEXT}correct it; docs/recipes.md describes every key",
        ),
        (
            "db-1",
            {"template": "web", "mac": "aabb.0210.0009"},
            "doit new host --mac: another host has this MAC address; expected each MAC address "
            "once, got aa:bb:02:10:00:09, also at recipes/hosts/more.csv:2: mac"
            f"{NEXT}correct or remove one of the two",
        ),
        (
            "web-2",
            INFRA,
            "doit new host: another host has this name; expected each name once, "
            f'got "web-2", also at recipes/hosts/more.csv:2: name{NEXT}'
            "correct or remove one of the two",
        ),
        (
            "db-1",
            {**INFRA, "address": "10.20.0.1"},
            "doit new host --address: is the address of the head node; expected an address of its "
            f'own, got "10.20.0.1"{NEXT}correct it; docs/recipes.md describes every key',
        ),
        (
            "db-1",
            {**INFRA, "address": "10.20.1.8"},
            "doit new host --address: another host has this address; expected each address once, "
            "got 10.20.1.8, also at recipes/hosts.toml:8: host.web-1.address"
            f"{NEXT}correct or remove one of the two",
        ),
        (
            "Db",
            INFRA,
            "doit new host Db: bad value; expected a host name without its domain: lower-case "
            f'letters, digits and inner dashes, at most 63, got "Db"{NEXT}correct it; '
            "docs/recipes.md describes every key",
        ),
        (
            "head",
            INFRA,
            "doit new host: is no name for a host; expected another name than head and "
            f'localhost, got "head"{NEXT}rename the host',
        ),
        (
            "db-1",
            {**INFRA, "iso": "x.iso"},
            "doit new host --iso: is of no use here; expected --template or --mac or --level or "
            f"--address{NEXT}leave it out",
        ),
    ],
)
def test_a_host_that_cannot_be(root, name, options, message):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text(recipe.read_text().replace(':00:05"', ':00:05"\naddress = "10.20.1.8"'))
    before = recipe.read_bytes()
    assert new_refusal(root, name, **options) == message
    assert recipe.read_bytes() == before


def test_a_template_without_a_byte(root):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text("")
    assert new_refusal(root, "db-1", template="web") == (
        "doit new host: [mac] of recipes/hosts.toml has no byte for the template web; expected the "
        f"machine's MAC address, or a convention that makes one{NEXT}say --mac MAC, or give web a "
        "byte there (docs/inventory.md)"
    )
    assert recipe.read_bytes() == b""


def test_nothing_is_added_behind_hosts_in_one_table(root):
    recipe = root / "recipes/hosts.toml"
    recipe.write_text('host = { a = { mac = "02:00:00:00:00:01" } }\n')
    before = recipe.read_bytes()
    assert new_refusal(root, "b", template="web", mac="02:00:00:00:00:02").endswith(
        'yourself: b = { mac = "02:00:00:00:00:02", template = "web" }'
    )
    assert recipe.read_bytes() == before


def test_a_site_without_netboot_has_no_hosts(root):
    (root / "recipes/site.toml").write_text(SITE)
    assert new_refusal(root, "db-1", template="web").startswith(
        "doit new host: this site has no inventory: "
    )
