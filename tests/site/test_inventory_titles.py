"""CSV files as spreadsheets write them: the lines that an error says to write will do."""

from __future__ import annotations

import re

import pytest

HOSTS = "recipes/hosts.toml"
NEXT = "\n  next: "
IMPORT = '[[import]]\nfile = "x.csv"\nformat = "csv"\n'
NAMED = f'{IMPORT}name = "n-{{mac}}"\n'
KEYS = (
    "name, mac, address, management, group, template, boot, install, loader, uefi_loader, media, "
    "options, overlays or values.NAME"
)


def test_another_delimiter(lab):
    lab.write("recipes/hosts/x.csv", "name;mac;address\na;52:54:00:00:00:01;10.20.1.1\n")
    assert lab.message(IMPORT) == (
        'recipes/hosts/x.csv:1: its titles are not separated so; expected "," between them, '
        f'got "name;mac;address"{NEXT}write in its [[import]] ({HOSTS}:2):\n    delimiter = ";"'
    )


def test_titles_of_ones_own(lab):
    lab.write("recipes/hosts/x.csv", "Asset,Ethernet,mac2\n17,52:54:00:00:00:01,\n")
    assert lab.message(NAMED) == (
        'recipes/hosts/x.csv:1: unknown columns "Asset", "Ethernet", "mac2"; '
        f'expected {KEYS}, with "," between them, got "Asset,Ethernet,mac2"'
        f"{NEXT}write in its [[import]] ({HOSTS}:2):\n"
        '    columns = { "Asset" = "ignore", "Ethernet" = "mac", "mac2" = "ignore" }'
    )


def test_both_and_some_said_already(lab):
    lab.write("recipes/hosts/x.csv", "Host\tNIC\tIP\tiLO\tRack\nA1\n")
    columns = 'columns = { Rack = "values.rack", IP = "address" }\n'
    assert lab.message(f"{IMPORT}{columns}") == (
        'recipes/hosts/x.csv:1: its titles are not separated so; expected "," between them, '
        f'got "Host\\tNIC\\tIP\\tiLO\\tRack"{NEXT}write in its [[import]] ({HOSTS}:4):\n'
        '    delimiter = "tab"\n'
        '    columns = { "Rack" = "values.rack", "IP" = "address", "Host" = "ignore", '
        '"NIC" = "ignore", "iLO" = "ignore" }'
    )


def test_the_import_is_the_one_that_names_the_file(lab):
    lab.write("recipes/hosts/ok.csv", "name,mac\n")
    lab.write("recipes/hosts/x.csv", "name,nic\na,52:54:00:00:00:01\n")
    message = lab.message(IMPORT.replace("x.csv", "ok.csv") + IMPORT)
    assert f"write in its [[import]] ({HOSTS}:5):" in message


def test_a_delimiter_that_there_is_not(lab):
    lab.write("recipes/hosts/x.csv", "name|mac\na|52:54:00:00:00:01\n")
    assert lab.message(IMPORT) == (
        "recipes/hosts/x.csv:1: holds one column; expected a delimiter of "
        f'",", ";", "tab" between several, got "name|mac"{NEXT}save the file with one of these'
    )


@pytest.mark.parametrize(
    "recipe, content, host",
    [
        (IMPORT, "name;mac\na;52:54:00:00:00:01\n", ("a", None, None)),
        (IMPORT + 'delimiter = ";"\n', "name,mac\na,52:54:00:00:00:01\n", ("a", None, None)),
        (IMPORT, "mac\tname\n52:54:00:00:00:01\ta\n", ("a", None, None)),
        (
            IMPORT,
            'Rechner;"MAC, erste";IP;BMC\na;52-54-00-00-00-01;10.20.1.1;10.99.0.1\n',
            ("a", "10.20.1.1", "10.99.0.1"),
        ),
        (IMPORT, "Bought,Hostname,nic\n2024,a,5254.0000.0001\n", ("a", None, None)),
        (IMPORT, "Bought,Wer,nic\n2024,a,5254.0000.0001\n", ("a", None, None)),
        (IMPORT, "Hostname,MAC address\na,5254.0000.0001\n", ("a", None, None)),
        (NAMED, "Ethernet\n525400000001\n", ("n-525400000001", None, None)),
        (NAMED, "Wer,Ethernet\na,525400000001\n", ("n-525400000001", None, None)),
        (
            IMPORT + 'columns = { Wer = "name" }\n',
            "Wer,Ort,MAC\na,Halle 7,525400000001\n",
            ("a", None, None),
        ),
    ],
)
def test_what_is_said_to_be_written_does(lab, recipe, content, host):
    lab.write("recipes/hosts/x.csv", content)
    message = lab.message(recipe)
    assert content.splitlines()[0].replace("\t", "\\t").replace('"', '\\"') in message
    lines = message.partition("):\n")[2].split("\n")
    said = {line.split()[0] for line in lines}
    assert said <= {"delimiter", "columns"}
    kept = [line for line in recipe.splitlines() if line.split()[0] not in said]
    [made] = lab.inventory("\n".join([*kept, *map(str.strip, lines), ""])).hosts
    assert (made.name, made.address, made.management) == host
    assert made.mac == "52:54:00:00:00:01"


def test_a_line_that_names_no_key_says_which_import(lab):
    lab.write("recipes/hosts/x.csv", "name,mac,options,Ort\n")
    assert re.search(r"hosts\.toml:2\):\n    columns = \{ \"Ort\" = ", lab.message(IMPORT))
