"""Everything that is wrong with the recipes, said at once; what follows from it is not."""

from __future__ import annotations

import pickle
import re
from contextlib import suppress

import pytest

from bootsmith.errors import RecipeError, RecipeErrors
from bootsmith.site.findings import Findings, Unjudged
from bootsmith.site.inventory_files import RECIPE

NEXT = "\n  next: "


def subjects(message):
    """Where each error of a message is."""
    lines = message.split("\n")
    return [
        re.match(r"([^ ]+?)(: [a-z0-9.\[\]_-]+)?: ", line)[0].removesuffix(": ")
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if after.startswith("  next: ")
    ]


def error(number, file="a.toml"):
    return RecipeError(f"{file}:{number}: x", "bad value", hint="correct it")


# --- gathering ---------------------------------------------------------------------------


def found(*errors):
    findings = Findings()
    for one in errors:
        with findings:
            raise one
    with pytest.raises((RecipeError, Unjudged)) as caught:
        findings.raise_any()
    return caught.value


def test_one_error_is_raised_as_it_is():
    one = error(1)
    assert found(one) is one
    assert found(one, Unjudged(), error(1)) is one


def test_several_are_sorted_by_file_and_line():
    several = found(error(10), error(9), error(1, "b.toml"), RecipeError("a.toml", "is missing"))
    assert str(several) == (
        "a.toml: is missing\n"
        f"a.toml:9: x: bad value{NEXT}correct it\n"
        f"a.toml:10: x: bad value{NEXT}correct it\n"
        f"b.toml:1: x: bad value{NEXT}correct it\n"
        "recipes: 4 errors in 2 files"
    )
    assert str(pickle.loads(pickle.dumps(several))) == str(several)


def test_several_found_in_several_looks_are_one_list():
    several = found(RecipeErrors([error(1), error(2)]), error(3))
    assert [one.subject for one in several.errors] == ["a.toml:1: x", "a.toml:2: x", "a.toml:3: x"]


def test_no_more_than_a_screen_of_them_is_shown():
    several = found(*map(error, range(1, 24)))
    assert str(several).endswith(
        f"a.toml:20: x: bad value{NEXT}correct it\nand 3 more\nrecipes: 23 errors in 1 file"
    )


def test_at_very_many_the_search_ends():
    findings = Findings()
    with pytest.raises(RecipeErrors) as caught:
        for number in range(1, 1000):
            findings.add(error(number))
    assert str(caught.value).endswith(
        "and 80 more at least\nrecipes: 100 errors at least in 1 file"
    )


def test_what_cannot_be_judged_is_passed_on():
    assert isinstance(found(Unjudged()), Unjudged)


def test_other_errors_are_not_gathered():
    findings = Findings()
    with pytest.raises(ValueError, match="ours"), findings:
        raise ValueError("ours")
    findings.raise_any()


# --- a site ------------------------------------------------------------------------------


def test_every_file_with_every_key(lab):
    lab.write(
        "recipes/site.toml", (lab.root / "recipes/site.toml").read_text() + 'colour = "red"\n'
    )
    lab.write("recipes/releases/plain.toml", 'iso = "p.iso"\nflavours = ["lts"]\n')
    lab.write("recipes/templates/web.toml", 'summary = 1\noverlays = ["base", 2, "bose"]\n')
    lab.write("recipes/templates/db.toml", 'summary = "a"\noverlays = ["bose", "mroe"]\n')
    lab.write("recipes/installers/debian.toml", "summary = [\n")
    lab.write("recipes/hosts.toml", "[host.a]\n[host.b]\nmac = 7\nmdeia = 1\n")
    lab.write("overlays/none.owners", "")
    message = lab.refusal()
    assert (
        message
        == f"""\
overlays/none.owners: an ownership file without its overlay; expected a directory overlays/none\
{NEXT}rename or remove the one that is left over
recipes/hosts.toml:1: host.a.mac: missing key; expected a MAC address like "52:54:00:12:34:56"\
{NEXT}add: mac = "AA:BB:01:01:00:01"
recipes/hosts.toml:3: host.b.mac: wrong type; expected a MAC address like "52:54:00:12:34:56", \
got the number 7{NEXT}correct it; docs/recipes.md describes every key
recipes/hosts.toml:4: host.b.mdeia: unknown key; expected media{NEXT}rename it to media
recipes/installers/debian.toml:1:12: not TOML: Invalid value{NEXT}correct the syntax there
recipes/releases/plain.toml:2: flavours: unknown key; expected flavors{NEXT}rename it to flavors
recipes/site.toml:14: netboot.colour: unknown key; expected one of 19 names: server, subnet, \
interface, root, domain, pool, gateway, dns, http_port, lease_seconds, modules, power, ...\
{NEXT}remove it; docs/recipes.md describes every key
recipes/templates/db.toml:2: overlays[0]: there is no such overlay; expected base, extra or more, \
got "bose"{NEXT}write "base", or add the directory overlays/bose
recipes/templates/db.toml:2: overlays[1]: there is no such overlay; expected base, extra or more, \
got "mroe"{NEXT}write "more", or add the directory overlays/mroe
recipes/templates/web.toml:1: summary: wrong type; expected text, got the number 1\
{NEXT}correct it; docs/recipes.md describes every key
recipes/templates/web.toml:2: overlays[1]: wrong type; expected text, got the number 2\
{NEXT}correct it; docs/recipes.md describes every key
recipes: 11 errors in 7 files"""
    )


@pytest.mark.parametrize(
    "files, places",
    [
        pytest.param(
            {"recipes/releases/plain.toml": "flavors = 1\n"},
            ["recipes/releases/plain.toml:1: flavors"],
            id="a template of a broken release",
        ),
        pytest.param(
            {"recipes/releases/plain.toml": 'name = "other"\niso = "x"\nflavors = ["lts"]\n'},
            ["recipes/templates/plain.toml:3: release"],
            id="a template of a release that is called otherwise",
        ),
        pytest.param(
            {"recipes/releases/alpine.toml": 'iso = "x"\nflavors = ["virt"]\n'},
            ["recipes/site.toml:4: flavor"],
            id="templates that inherit a flavor that there is not",
        ),
        pytest.param(
            {"recipes/site.toml": "schema = 1\n"},
            [
                "recipes/site.toml: flavor",
                "recipes/site.toml: name",
                "recipes/site.toml: release",
            ],
            id="templates of a broken site",
        ),
        pytest.param(
            {"recipes/templates/web.toml": 'summary = "x"\noverlays = ["bse"]\n'},
            ["recipes/templates/web.toml:2: overlays[0]"],
            id="a site whose template is broken",
        ),
        pytest.param(
            {
                "recipes/templates/web.toml": 'summary = "x"\noverlays = ["bse"]\n',
                "recipes/hosts.toml": '[host.a]\nmac = "52:54:00:00:00:01"\ntemplate = "none"\n',
            },
            ["recipes/templates/web.toml:2: overlays[0]"],
            id="hosts are held against templates that are all good",
        ),
    ],
)
def test_what_follows_from_a_mistake_is_not_said(lab, files, places):
    for name, text in files.items():
        lab.write(name, text)
    assert sorted(subjects(lab.refusal())) == places


def test_templates_and_targets_are_judged_each(lab):
    text = (lab.root / "recipes/site.toml").read_text()
    lab.write("recipes/site.toml", text.replace('template = "web"', 'template = "wbe"')
              + '[publish.a]\n[publish.b]\ndirectory = "/srv"\nport = 22\n')  # fmt: skip
    assert subjects(lab.refusal()) == [
        "recipes/site.toml:14: publish.a",
        "recipes/site.toml:17: publish.b.port",
    ]
    lab.write("recipes/site.toml", text)
    for name in ("web", "db"):
        recipe = lab.root / f"recipes/templates/{name}.toml"
        recipe.write_text(recipe.read_text() + '[netboot]\ninstall = "deban"\n')
    assert subjects(lab.refusal()) == [
        "recipes/templates/db.toml:4: netboot.install",
        "recipes/templates/web.toml:4: netboot.install",
    ]


# --- an inventory ------------------------------------------------------------------------


def test_every_host_and_every_line_of_a_file(lab):
    lab.write("recipes/hosts/x.csv", "name,mac,media\na,1,http\nb\nc,52:54:00:00:00:01,ftp\n")
    lab.write("recipes/hosts/y.txt", "52:54:00:00:00:02\n\n1 2\n")
    message = lab.message("""\
[group.g]
mdeia = "nfs"

[host.a_b]
mac = "52:54:00:00:00:03"

[host.a]
adress = "10.20.1.1"
""")
    assert subjects(message) == [
        "recipes/hosts.toml:2: group.g.mdeia",
        "recipes/hosts.toml:4: host.a_b",
        "recipes/hosts.toml:7: host.a.mac",
        "recipes/hosts.toml:8: host.a.adress",
    ]
    message = lab.message("""\
[[import]]
file = "x.csv"
format = "csv"

[[import]]
file = "y.txt"
format = "machines"
name = "n{number}"

[[import]]
file = "z.csv"
format = "csv"
group = "none"
""")
    assert subjects(message) == [
        "recipes/hosts.toml:13: import[2].group",
        "recipes/hosts/x.csv:2: mac",
        "recipes/hosts/x.csv:3",
        "recipes/hosts/x.csv:4: media",
        "recipes/hosts/y.txt:1",
        "recipes/hosts/y.txt:3: mac",
    ]


def test_names_addresses_and_what_is_inherited(lab):
    lab.write("recipes/hosts/x.csv", "name,mac,address\nb,52:54:00:00:00:01,10.20.0.1\n"
              "a,52:54:00:00:00:01,10.99.0.1\nd,52:54:00:00:00:04,10.20.250.2\n")  # fmt: skip
    message = lab.message("""\
[host.a]
mac = "52:54:00:00:00:01"
overlays = ["extr", "base", "mroe"]

[host.c]
mac = "52:54:00:00:00:03"
template = "plain"
media = "nfs"

[[import]]
file = "x.csv"
format = "csv"
""")
    assert subjects(message) == [
        "recipes/hosts.toml:3: host.a.overlays[0]",
        "recipes/hosts.toml:8: host.c.media",
        "recipes/hosts/x.csv:2: mac",
        "recipes/hosts/x.csv:2: address",
        "recipes/hosts/x.csv:3: name",
        "recipes/hosts/x.csv:3: mac",
        "recipes/hosts/x.csv:3: address",
        "recipes/hosts/x.csv:4: address",
    ]


def test_a_circle_of_parents_is_said_once(lab):
    groups = {"a": "b", "b": "c", "c": "b", "d": "c", "e": "x", "f": "e"}
    message = lab.message(
        "".join(f'[group.{name}]\nparent = "{parent}"\n' for name, parent in groups.items())
    )
    assert subjects(message) == [
        "recipes/hosts.toml:6: group.c.parent",
        "recipes/hosts.toml:10: group.e.parent",
    ]
    assert "got b -> c -> b" in message


def test_a_large_file_that_is_wrong_throughout(lab):
    lab.write(RECIPE, "".join(f'[host.n{at}]\nmac = "x"\n' for at in range(2000)))
    message = lab.message()
    assert message.count(NEXT) == 20
    assert message.startswith("recipes/hosts.toml:2: host.n0.mac: is not a MAC address; ")
    assert "recipes/hosts.toml:40: host.n19.mac: " in message
    assert message.endswith("\nand 80 more at least\nrecipes: 100 errors at least in 1 file")


def test_whatever_line_is_lost_the_recipes_are_blamed(lab):
    """What cannot be judged never escapes as anything else than an error of a recipe."""
    lab.write(
        "recipes/images/whole.toml",
        'kind = "ramroot"\nsummary = "x"\ntarball = "x.tar"\noverlays = ["base"]\n',
    )
    lab.write("recipes/hosts.toml", '[host.a]\nmac = "52:54:00:00:00:01"\n')
    lab.inventory()
    refused = 0
    for recipe in sorted((lab.root / "recipes").rglob("*.toml")):
        text = recipe.read_text()
        lines = text.splitlines(keepends=True)
        for at, line in enumerate(lines):
            for left in ("", f"{line[: len(line) // 2]}\n"):
                recipe.write_text("".join([*lines[:at], left, *lines[at + 1 :]]))
                with suppress(RecipeError):
                    lab.inventory()
                    continue
                refused += 1
        recipe.write_text(text)
    assert refused > 40
