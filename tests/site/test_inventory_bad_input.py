"""Inventories that cannot be, each with the whole of what is said. The messages are a contract."""

from __future__ import annotations

import os

import pytest

from bootsmith.site import inventory_read

A = '[host.a]\nmac = "52:54:00:00:00:01"\n'
CSV = '[[import]]\nfile = "x.csv"\nformat = "csv"\n'
MACHINES = '[[import]]\nfile = "x.txt"\nformat = "machines"\nname = "n{number}"\n'
MAC = '[mac]\nfixed = "aa:bb"\nlevels = { low = 1 }\ntemplates = { db = 2 }\n'
LONG = "a" * 60
HOSTS = "recipes/hosts.toml"
NEXT = "\n  next: "
READ = f"{NEXT}correct it; docs/recipes.md describes every key"
NAME = (
    "expected a host name without its domain: lower-case letters, digits and inner dashes, "
    "at most 63"
)
NO_MAC = 'expected a MAC address like "52:54:00:12:34:56"'
KEYS = (
    "name, mac, address, management, group, template, boot, install, loader, uefi_loader, media, "
    "options, overlays or values.NAME"
)
TWICE = f"{NEXT}correct or remove one of the two"

RECIPES = [
    (
        "[host.a]\n",
        (f'{HOSTS}:1: host.a.mac: missing key; {NO_MAC}{NEXT}add: mac = "AA:BB:01:01:00:01"'),
    ),
    (
        "host = 1\n",
        (
            f"{HOSTS}:1: host: wrong type; expected a table of tables"
            f"{NEXT}write each host as [host.NAME]"
        ),
    ),
    ("[host]\na = 1\n", f"{HOSTS}:2: host.a: wrong type; expected a table, got the number 1{READ}"),
    ("[host.a]\nmac = 7\n", f"{HOSTS}:2: host.a.mac: wrong type; {NO_MAC}, got the number 7{READ}"),
    (
        A + 'colour = "red"\n',
        (
            f"{HOSTS}:3: host.a.colour: unknown key; expected one of 13 names: mac, "
            "address, management, group, template, boot, install, loader, uefi_loader, "
            "media, options, overlays, ..."
            f"{NEXT}remove it; docs/recipes.md describes every key"
        ),
    ),
    (
        A + 'adress = "10.20.0.7"\n',
        (f"{HOSTS}:3: host.a.adress: unknown key; expected address{NEXT}rename it to address"),
    ),
    (
        '[host.A]\nmac = "52:54:00:00:00:01"\n',
        f'{HOSTS}:1: host.A: bad value; {NAME}, got "A"{READ}',
    ),
    (
        '[host."a.b"]\nmac = "52:54:00:00:00:01"\n',
        f'{HOSTS}:1: host."a.b": bad value; {NAME}, got "a.b"{READ}',
    ),
    (
        '[host.a_b]\nmac = "52:54:00:00:00:01"\n',
        f'{HOSTS}:1: host.a_b: bad value; {NAME}, got "a_b"{READ}',
    ),
    (
        '[host.-a]\nmac = "52:54:00:00:00:01"\n',
        f'{HOSTS}:1: host.-a: bad value; {NAME}, got "-a"{READ}',
    ),
    (
        '[host.a-]\nmac = "52:54:00:00:00:01"\n',
        f'{HOSTS}:1: host.a-: bad value; {NAME}, got "a-"{READ}',
    ),
    (
        '[host.head]\nmac = "52:54:00:00:00:01"\n',
        (
            f"{HOSTS}:1: host.head: is no name for a host; expected another name than head "
            f'and localhost, got "head"{NEXT}rename the host'
        ),
    ),
    (
        '[host.localhost]\nmac = "52:54:00:00:00:01"\n',
        (
            f"{HOSTS}:1: host.localhost: is no name for a host; expected another name than "
            f'head and localhost, got "localhost"{NEXT}rename the host'
        ),
    ),
    (
        '[host.a]\nmac = "53:54:00:00:00:01"\n',
        (
            f"{HOSTS}:2: host.a.mac: is no machine's MAC address: its first byte, 53, is "
            f'odd, which addresses a group; {NO_MAC}, got "53:54:00:00:00:01"{READ}'
        ),
    ),
    (
        '[host.a]\nmac = "52:54:00:00:01"\n',
        (
            f"{HOSTS}:2: host.a.mac: is not a MAC address: it has 5 bytes and not 6; "
            f'{NO_MAC}, got "52:54:00:00:01"{READ}'
        ),
    ),
    (
        '[host.a]\nmac = "00:00:00:00:00:00"\n',
        (
            f"{HOSTS}:2: host.a.mac: is no machine's MAC address: all its bytes are zero; "
            f'{NO_MAC}, got "00:00:00:00:00:00"{READ}'
        ),
    ),
    (
        '[host.a]\nmac = "web"\n',
        f'{HOSTS}:2: host.a.mac: is not a MAC address; {NO_MAC}, got "web"{READ}',
    ),
    (
        A + "\n" + A,
        (
            f"{HOSTS}:4: host.a: is there already; expected each table once, got another "
            f"one in line 1{NEXT}rename or remove one of the two"
        ),
    ),
    (
        A + ('\n[host.b]\nmac = "52-54-00-00-00-01"\n'),
        (
            f"{HOSTS}:5: host.b.mac: another host has this MAC address; expected each MAC "
            f"address once, got 52:54:00:00:00:01, also at {HOSTS}:2: host.a.mac{TWICE}"
        ),
    ),
    (
        A + ('address = "10.20.1.1"\n[host.b]\nmac = "52:54:00:00:00:02"\naddress = "10.20.1.1"\n'),
        (
            f"{HOSTS}:6: host.b.address: another host has this address; expected each "
            f"address once, got 10.20.1.1, also at {HOSTS}:3: host.a.address{TWICE}"
        ),
    ),
    (
        A
        + (
            'address = "10.20.1.1"\n[host.b]\nmac = "52:54:00:00:00:02"\nmanagement = "10.20.1.1"\n'
        ),
        (
            f"{HOSTS}:6: host.b.management: another host has this address; expected each "
            f"address once, got 10.20.1.1, also at {HOSTS}:3: host.a.address{TWICE}"
        ),
    ),
    (
        A + ('address = "10.20.1.1"\nmanagement = "10.20.1.1"\n'),
        (
            f"{HOSTS}:4: host.a.management: is the address of the machine itself; expected "
            f'an address of its management controller, got "10.20.1.1"{READ}'
        ),
    ),
    (
        A + 'address = "10.20.1"\n',
        (
            f"{HOSTS}:3: host.a.address: bad value; expected an IPv4 address like "
            f'"10.20.0.7", got "10.20.1"{READ}'
        ),
    ),
    (
        A + 'address = "10.20.1.01"\n',
        (
            f"{HOSTS}:3: host.a.address: bad value; expected an IPv4 address like "
            f'"10.20.0.7", got "10.20.1.01"{READ}'
        ),
    ),
    (
        A + 'address = "10.30.1.1"\n',
        (
            f"{HOSTS}:3: host.a.address: is outside the subnet; expected an address of "
            '10.20.0.0/16, got "10.30.1.1"'
            f"{NEXT}correct it, or the subnet of [netboot] in recipes/site.toml"
        ),
    ),
    (
        A + 'address = "10.20.0.0"\n',
        (
            f"{HOSTS}:3: host.a.address: is the network address of the subnet; expected "
            f'10.20.0.1 to 10.20.255.254, got "10.20.0.0"{READ}'
        ),
    ),
    (
        A + 'address = "10.20.255.255"\n',
        (
            f"{HOSTS}:3: host.a.address: is the broadcast address of the subnet; expected "
            f'10.20.0.1 to 10.20.255.254, got "10.20.255.255"{READ}'
        ),
    ),
    (
        A + 'address = "10.20.0.1"\n',
        (
            f"{HOSTS}:3: host.a.address: is the address of the head node; expected an "
            f'address of its own, got "10.20.0.1"{READ}'
        ),
    ),
    (
        A + 'address = "10.20.0.254"\n',
        (
            f"{HOSTS}:3: host.a.address: is the address of the gateway; expected an address "
            f'of its own, got "10.20.0.254"{READ}'
        ),
    ),
    (
        A + 'address = "10.20.250.7"\n',
        (
            f"{HOSTS}:3: host.a.address: is in the pool, so another machine may have it; "
            "expected an address outside 10.20.250.1 to 10.20.250.254, got "
            f'"10.20.250.7"{NEXT}give it another one, or make the pool of [netboot] in '
            "recipes/site.toml smaller"
        ),
    ),
    (
        A + 'management = "10.20.250.7"\n',
        (
            f"{HOSTS}:3: host.a.management: is in the pool, so another machine may have it; "
            "expected an address outside 10.20.250.1 to 10.20.250.254, got "
            f'"10.20.250.7"{NEXT}give it another one, or make the pool of [netboot] in '
            "recipes/site.toml smaller"
        ),
    ),
    (
        A + 'management = "10.20.0.1"\n',
        (
            f"{HOSTS}:3: host.a.management: is the address of the head node; expected an "
            f'address of its own, got "10.20.0.1"{READ}'
        ),
    ),
    (
        A + ('management = "10.30.0.1"\n[host.a-mgmt]\nmac = "52:54:00:00:00:02"\n'),
        (
            f"{HOSTS}:4: host.a-mgmt: has the name that a management address has in the "
            f'zone; expected another name, got "a-mgmt", of {HOSTS}:3: '
            f"host.a.management{NEXT}rename one of the two hosts"
        ),
    ),
    (
        A + 'template = "wbe"\n',
        (
            f"{HOSTS}:3: host.a.template: there is no such template; expected db, plain or "
            f'web, got "wbe"{NEXT}write "web", or add recipes/templates/wbe.toml'
        ),
    ),
    (
        A + 'group = "g"\n',
        f'{HOSTS}:3: host.a.group: there is no such group; got "g"{NEXT}add [group.g]',
    ),
    (
        A + 'install = "debain"\n',
        (
            f"{HOSTS}:3: host.a.install: there is no such installer or template; expected "
            'db, debian, none, plain or web, got "debain"'
            f'{NEXT}write "debian", or add recipes/installers/debain.toml'
        ),
    ),
    (
        A + 'overlays = ["extra", "mroe"]\n',
        (
            f"{HOSTS}:3: host.a.overlays[1]: there is no such overlay; expected base, extra "
            f'or more, got "mroe"{NEXT}write "more", or add the directory overlays/mroe'
        ),
    ),
    (
        A + ('media = "nfs"\ntemplate = "plain"\n'),
        (
            f"{HOSTS}:3: host.a.media: template plain cannot mount it: the pxerd of its "
            'release lacks the feature nfs; expected media = "http", or the feature, got '
            f'"nfs" for host a{NEXT}add "nfs" to the features of [pxerd] in its release'
        ),
    ),
    (
        A + 'loader = "grub"\n',
        (
            f'{HOSTS}:3: host.a.loader: bad value; expected "pxelinux", "lpxelinux" or '
            f'"ipxe", got "grub"{READ}'
        ),
    ),
    (
        A + 'options = ["two words"]\n',
        (
            f"{HOSTS}:3: host.a.options[0]: bad value; expected one word of printable "
            f'ASCII, without blanks or quotes, got "two words"{READ}'
        ),
    ),
    (
        A + 'values = { "a-b" = "x" }\n',
        (
            f"{HOSTS}:3: host.a.values.a-b: bad value; expected a name of letters, digits "
            f'and underscores, got "a-b"{READ}'
        ),
    ),
    (
        A + "values = { a = 1 }\n",
        f"{HOSTS}:3: host.a.values.a: wrong type; expected text, got the number 1{READ}",
    ),
    (
        A + 'values = { a = "x\\ny" }\n',
        (
            f"{HOSTS}:3: host.a.values.a: bad value; expected one line of text, at most "
            f'1024 characters, got "x\\ny"{READ}'
        ),
    ),
    (
        A + 'values = "x"\n',
        (
            f"{HOSTS}:3: host.a.values: wrong type; expected a table of texts, got the text "
            f'"x"{READ}'
        ),
    ),
    (
        '[group.a]\nparent = "b"\n',
        (
            f'{HOSTS}:2: group.a.parent: there is no such group; expected a, got "b"'
            f"{NEXT}add [group.b]"
        ),
    ),
    (
        '[group.a]\nparent = "a"\n',
        (
            f"{HOSTS}:2: group.a.parent: leads round in a circle; expected parents that "
            f"end, got a -> a{NEXT}remove one of these parents"
        ),
    ),
    (
        '[group.a]\nparent = "b"\n[group.b]\nparent = "c"\n[group.c]\nparent = "b"\n',
        (
            f"{HOSTS}:6: group.c.parent: leads round in a circle; expected parents that "
            f"end, got b -> c -> b{NEXT}remove one of these parents"
        ),
    ),
    (
        '[group.a]\ntemplate = "x"\n',
        (
            f"{HOSTS}:2: group.a.template: there is no such template; expected db, plain or "
            f'web, got "x"{NEXT}add recipes/templates/x.toml'
        ),
    ),
    (
        '[group.a]\nmac = "52:54:00:00:00:01"\n',
        (
            f"{HOSTS}:2: group.a.mac: unknown key; expected parent, template, boot, "
            "install, loader, uefi_loader, media, options, overlays or values"
            f"{NEXT}remove it; docs/recipes.md describes every key"
        ),
    ),
    (
        ('[group.g]\nmedia = "nfs"\n') + A + ('group = "g"\ntemplate = "plain"\n'),
        (
            f"{HOSTS}:2: group.g.media: template plain cannot mount it: the pxerd of its "
            'release lacks the feature nfs; expected media = "http", or the feature, got '
            f'"nfs" for host a{NEXT}add "nfs" to the features of [pxerd] in its release'
        ),
    ),
    (
        '[[rule]]\ntemplate = "db"\n',
        (
            f"{HOSTS}:1: rule[0].prefix: missing key; expected one to five bytes like "
            f'"52:54:00"{NEXT}add: prefix = "00:1b:21"'
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54:0"\n',
        (
            f"{HOSTS}:2: rule[0].prefix: ends inside a byte; expected one to five bytes "
            f'like "52:54:00", got "52:54:0"{READ}'
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54:00:00:00:01"\n',
        (
            f"{HOSTS}:2: rule[0].prefix: is too long: it has 6 bytes; expected one to five "
            f'bytes like "52:54:00", got "52:54:00:00:00:01"{READ}'
        ),
    ),
    (
        '[[rule]]\nprefix = "01:00:5e"\n',
        (
            f"{HOSTS}:2: rule[0].prefix: is the beginning of no machine's MAC address: its "
            "first byte, 01, is odd, which addresses a group; expected one to five bytes "
            f'like "52:54:00", got "01:00:5e"{READ}'
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54"\noverlays = ["extra"]\n',
        (
            f"{HOSTS}:3: rule[0].overlays: unknown key; expected prefix, template, boot, "
            "install, loader, uefi_loader, media or options"
            f"{NEXT}remove it; docs/recipes.md describes every key"
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54"\ntemplate = "x"\n',
        (
            f"{HOSTS}:3: rule[0].template: there is no such template; expected db, plain or "
            f'web, got "x"{NEXT}add recipes/templates/x.toml'
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54:00"\ntemplate = "plain"\nmedia = "nfs"\n',
        (
            f"{HOSTS}:4: rule[0].media: template plain cannot mount it: the pxerd of its "
            'release lacks the feature nfs; expected media = "http", or the feature, got '
            '"nfs" for rule 52:54:00'
            f'{NEXT}add "nfs" to the features of [pxerd] in its release'
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54"\n\n[[rule]]\nprefix = "52-54"\n',
        (
            f"{HOSTS}:5: rule[1].prefix: begins as another prefix does; expected prefixes "
            f"of which none begins with another, got 52:54 here, 52:54 at {HOSTS}:2: "
            f"rule[0].prefix{NEXT}remove one, write longer prefixes that differ, or name "
            "the machines as hosts"
        ),
    ),
    (
        '[[rule]]\nprefix = "52:54:00:01"\n\n[[rule]]\nprefix = "52:54:00"\n',
        (
            f"{HOSTS}:2: rule[0].prefix: begins as another prefix does; expected prefixes "
            f"of which none begins with another, got 52:54:00:01 here, 52:54:00 at {HOSTS}"
            f":5: rule[1].prefix{NEXT}remove one, write longer prefixes that differ, or "
            "name the machines as hosts"
        ),
    ),
    (
        MAC + ('[[rule]]\nprefix = "aa:bb:01"\ntemplate = "db"\n'),
        (
            f"{HOSTS}:4: mac.templates.db: begins as another prefix does; expected prefixes "
            f"of which none begins with another, got aa:bb:01:02 here, aa:bb:01 at {HOSTS}"
            f":6: rule[0].prefix{NEXT}remove one, write longer prefixes that differ, or "
            "name the machines as hosts"
        ),
    ),
    (
        MAC + ('[[rule]]\nprefix = "aa:bb:01:02"\ntemplate = "web"\n'),
        (
            f"{HOSTS}:7: rule[0].template: is not what the convention says of this prefix; "
            f'expected "db", by {HOSTS}:4: mac.templates.db, got "web"'
            f"{NEXT}leave template out here, or change [mac]"
        ),
    ),
    (
        "rule = 1\n",
        f"{HOSTS}:1: rule: wrong type; expected a list of tables, got the number 1{READ}",
    ),
    (
        '[rule]\nprefix = "52:54"\n',
        f"{HOSTS}:1: rule: wrong type; expected a list of tables, got a table{READ}",
    ),
    (
        '[mac]\nfixed = "aa"\nlevels = { low = 1 }\ntemplates = { db = 2 }\n',
        f'{HOSTS}:2: mac.fixed: bad value; expected 2 bytes like "AA:BB", got "aa"{READ}',
    ),
    (
        '[mac]\nfixed = "ab:bb"\nlevels = { low = 1 }\ntemplates = { db = 2 }\n',
        (
            f"{HOSTS}:2: mac.fixed: is the beginning of no machine's MAC address: its first "
            'byte, ab, is odd, which addresses a group; expected 2 bytes like "AA:BB", got '
            f'"ab:bb"{READ}'
        ),
    ),
    (
        '[mac]\nfixed = "aa:bb"\nlevels = { }\ntemplates = { db = 2 }\n',
        f"{HOSTS}:3: mac.levels: is empty; expected one of the levels at least{READ}",
    ),
    (
        '[mac]\nfixed = "aa:bb"\nlevels = { low = 256 }\ntemplates = { db = 2 }\n',
        (
            f"{HOSTS}:3: mac.levels.low: bad value; expected a whole number from 0 to 255, "
            f"got 256{READ}"
        ),
    ),
    (
        '[mac]\nfixed = "aa:bb"\nlevels = { low = 1, high = 1 }\ntemplates = { db = 2 }\n',
        (
            f"{HOSTS}:3: mac.levels.high: two levels have one byte; expected another byte, "
            f"got 0x01, which is that of low{READ}"
        ),
    ),
    (
        '[mac]\nfixed = "aa:bb"\nlevels = { low = 1 }\ntemplates = { db = 2, web = 2 }\n',
        (
            f"{HOSTS}:4: mac.templates.web: two templates have one byte; expected another "
            f"byte, got 0x02, which is that of db{READ}"
        ),
    ),
    (
        '[mac]\nfixed = "aa:bb"\nlevels = { low = 1 }\ntemplates = { x = 2 }\n',
        (
            f"{HOSTS}:4: mac.templates.x: there is no such template; expected db, plain or "
            f'web, got "x"{NEXT}add recipes/templates/x.toml'
        ),
    ),
    (
        MAC + ('[host.a]\nmac = "aa:bb:09:02:00:01"\n'),
        (
            f"{HOSTS}:6: host.a.mac: is none that the convention makes: no level has the "
            f"byte 0x09; expected one of those in {HOSTS}:3: mac.levels, got "
            f'"aa:bb:09:02:00:01"{NEXT}doit mac new TEMPLATE gives the next free one'
        ),
    ),
    (
        MAC + ('[host.a]\nmac = "aa:bb:01:03:00:01"\n'),
        (
            f"{HOSTS}:6: host.a.mac: is none that the convention makes: no template has the "
            f"byte 0x03; expected one of those in {HOSTS}:4: mac.templates, got "
            f'"aa:bb:01:03:00:01"{NEXT}doit mac new TEMPLATE gives the next free one'
        ),
    ),
    ("hosts = 1\n", f"{HOSTS}:1: hosts: unknown key; expected host{NEXT}rename it to host"),
    (
        '[[import]]\nformat = "csv"\n',
        (
            f"{HOSTS}:1: import[0].file: missing key; expected a path below recipes/hosts, "
            f'like "rack-2.csv"{NEXT}add: file = "rack-2.csv"'
        ),
    ),
    (
        '[[import]]\nfile = "x.csv"\nformat = "xls"\n',
        (f'{HOSTS}:3: import[0].format: bad value; expected "machines" or "csv", got "xls"{READ}'),
    ),
    (
        '[[import]]\nfile = "../site.toml"\nformat = "csv"\n',
        (
            f"{HOSTS}:2: import[0].file: bad value; expected a path below recipes/hosts, "
            f'like "rack-2.csv", got "../site.toml"{READ}'
        ),
    ),
    (
        '[[import]]\nfile = "/etc/passwd"\nformat = "csv"\n',
        (
            f"{HOSTS}:2: import[0].file: bad value; expected a path below recipes/hosts, "
            f'like "rack-2.csv", got "/etc/passwd"{READ}'
        ),
    ),
    (
        CSV,
        (
            f"{HOSTS}:2: import[0].file: there is no such file; expected a file below "
            f'recipes/hosts, got "x.csv"{NEXT}add the file'
        ),
    ),
    (
        "x",
        (
            f"{HOSTS}:1:2: not TOML: Expected '=' after a key in a key/value pair"
            f"{NEXT}correct the syntax there"
        ),
    ),
    (
        '[host."\\u0000"]\nmac = "52:54:00:00:00:01"\n',
        f'{HOSTS}:1: host."\\u0000": bad value; {NAME}, got "\\u0000"{READ}',
    ),
]

FILES = [
    (
        CSV,
        "x.cvs",
        "",
        (
            f"{HOSTS}:2: import[0].file: there is no such file; expected a file below "
            f'recipes/hosts, got "x.csv"{NEXT}write "x.cvs", or add the file'
        ),
    ),
    (
        CSV + CSV,
        "x.csv",
        "name,mac\n",
        (
            f"{HOSTS}:5: import[1].file: is imported twice; got x.csv, also at {HOSTS}:2: "
            f"import[0].file{NEXT}remove one of the two"
        ),
    ),
    (
        CSV,
        "x.csv",
        b"name,mac\n\xff\n",
        f"recipes/hosts/x.csv:2: is not UTF-8; got byte 0xff{NEXT}save the file as UTF-8",
    ),
    (
        CSV,
        "x.csv",
        "name,mac\n\x00\n",
        (f"recipes/hosts/x.csv:2: holds a control character{NEXT}save the file as plain text"),
    ),
    (
        CSV,
        "x.csv",
        "",
        (
            "recipes/hosts/x.csv:1: is empty; expected a line of titles"
            f"{NEXT}write titles first: name,mac"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name\na\n",
        (
            'recipes/hosts/x.csv:1: no column says the mac; expected name and mac, with "," '
            'between them, got "name"'
            f"{NEXT}the first line holds the titles of the columns"
        ),
    ),
    (
        CSV,
        "x.csv",
        "mac\n52:54:00:00:00:01\n",
        (
            'recipes/hosts/x.csv:1: no column says the name; expected mac and name, with "," '
            'between them, got "mac"'
            f"{NEXT}the first line holds the titles of the columns"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,colour\n",
        (
            f'recipes/hosts/x.csv:1: unknown column "colour"; expected {KEYS}, with "," between '
            f'them, got "name,mac,colour"{NEXT}write in its [[import]] ({HOSTS}:2):\n'
            '    columns = { "colour" = "ignore" }'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,adress\n",
        (
            f'recipes/hosts/x.csv:1: unknown column "adress"; expected {KEYS}, with "," between '
            f'them, got "name,mac,adress"{NEXT}write in its [[import]] ({HOSTS}:2):\n'
            '    columns = { "adress" = "address" }'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,\n",
        (
            "recipes/hosts/x.csv:1: a column has no title that a recipe can name; expected the "
            'title of a column for each, with "," between them, got "name,mac,"'
            f"{NEXT}give each column a title there, or remove it"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,values.a-b\n",
        (
            f'recipes/hosts/x.csv:1: unknown column "values.a-b"; expected {KEYS}, with "," '
            f'between them, got "name,mac,values.a-b"{NEXT}write in its [[import]] ({HOSTS}:2):\n'
            '    columns = { "values.a-b" = "ignore" }'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,MAC\n",
        (
            "recipes/hosts/x.csv:1: two columns say the mac; got mac and MAC"
            f'{NEXT}remove one, or ignore it: columns = {{ "TITLE" = "ignore" }}'
        ),
    ),
    (
        CSV + 'columns = { Wer = "name" }\n',
        "x.csv",
        "name,mac\n",
        (
            f"{HOSTS}:4: import[0].columns.Wer: the file has no such column; expected mac "
            f'or name, got "Wer"{NEXT}remove it'
        ),
    ),
    (
        CSV + 'columns = { name = "who" }\n',
        "x.csv",
        "name,mac\n",
        (
            f"{HOSTS}:4: import[0].columns.name: bad value; expected a key of a host, "
            f'`values.NAME` or `ignore`, got "who"{READ}'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac\na\n",
        (
            "recipes/hosts/x.csv:2: does not fit the titles; expected 2 columns, got "
            f"1{NEXT}write a cell for each title, be it an empty one; quote cells that hold "
            "the delimiter"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac\na,52:54:00:00:00:01,x\n",
        (
            "recipes/hosts/x.csv:2: does not fit the titles; expected 2 columns, got "
            f"3{NEXT}write a cell for each title, be it an empty one; quote cells that hold "
            "the delimiter"
        ),
    ),
    (
        CSV,
        "x.csv",
        'name,mac\n"a,52:54:00:00:00:01\nb,52:54:00:00:00:02\n',
        (
            "recipes/hosts/x.csv:2: is no line of a CSV: unexpected end of data"
            f'{NEXT}write a quote inside quotes twice, and close it on its line: "a ""b"" c"'
        ),
    ),
    (
        CSV,
        "x.csv",
        'name,mac\n"a"b,52:54:00:00:00:01\n',
        (
            "recipes/hosts/x.csv:2: is no line of a CSV: ',' expected after '\"'"
            f'{NEXT}write a quote inside quotes twice, and close it on its line: "a ""b"" c"'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac\na,\n",
        f"recipes/hosts/x.csv:2: mac: missing; {NO_MAC}{NEXT}say it, or remove the line",
    ),
    (
        CSV,
        "x.csv",
        "name,mac\n,52:54:00:00:00:01\n",
        (
            f"recipes/hosts/x.csv:2: name: missing; {NAME}"
            f'{NEXT}say it, or let names be made: name = "node{{number:03}}" in its '
            "[[import]]"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac\nA,52:54:00:00:00:01\n",
        f'recipes/hosts/x.csv:2: name: bad value; {NAME}, got "A"{READ}',
    ),
    (
        CSV,
        "x.csv",
        "name,mac\na,52:54:00:00:00:1\n",
        (
            "recipes/hosts/x.csv:2: mac: is not a MAC address: it has 5 bytes and a half "
            f'and not 6; {NO_MAC}, got "52:54:00:00:00:1"{READ}'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,options\na,52:54:00:00:00:01,\"a 'b'\"\n",
        (
            "recipes/hosts/x.csv:2: options[1]: bad value; expected one word of printable "
            f"ASCII, without blanks or quotes, got \"'b'\"{READ}"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,media\na,52:54:00:00:00:01,ntfs\n",
        (
            'recipes/hosts/x.csv:2: media: bad value; expected "http" or "nfs", got '
            f'"ntfs"{NEXT}write "nfs"'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,template\na,52:54:00:00:00:01,wbe\n",
        (
            "recipes/hosts/x.csv:2: template: there is no such template; expected db, "
            f'plain or web, got "wbe"{NEXT}write "web", or add recipes/templates/wbe.toml'
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,group\na,52:54:00:00:00:01,g\n",
        (f'recipes/hosts/x.csv:2: group: there is no such group; got "g"{NEXT}add [group.g]'),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,overlays\na,52:54:00:00:00:01,extra mroe\n",
        (
            "recipes/hosts/x.csv:2: overlays[1]: there is no such overlay; expected base, "
            'extra or more, got "mroe"'
            f'{NEXT}write "more", or add the directory overlays/mroe'
        ),
    ),
    (
        CSV + 'group = "g"\n',
        "x.csv",
        "name,mac\na,52:54:00:00:00:01\n",
        f'{HOSTS}:4: import[0].group: there is no such group; got "g"{NEXT}add [group.g]',
    ),
    (
        A + CSV,
        "x.csv",
        "name,mac\na,52:54:00:00:00:02\n",
        (
            "recipes/hosts/x.csv:2: name: another host has this name; expected each name "
            f'once, got "a", also at {HOSTS}:1: host.a{TWICE}'
        ),
    ),
    (
        A + CSV,
        "x.csv",
        "name,mac\n\nb,52:54:00:00:00:01\n",
        (
            "recipes/hosts/x.csv:3: mac: another host has this MAC address; expected each "
            f"MAC address once, got 52:54:00:00:00:01, also at {HOSTS}:2: host.a.mac{TWICE}"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,address\na,52:54:00:00:00:01,10.20.1.1\nb,52:54:00:00:00:02,10.20.1.1\n",
        (
            "recipes/hosts/x.csv:3: address: another host has this address; expected each "
            f"address once, got 10.20.1.1, also at recipes/hosts/x.csv:2: address{TWICE}"
        ),
    ),
    (
        CSV,
        "x.csv",
        "name,mac,address\na,52:54:00:00:00:01,10.30.1.1\n",
        (
            "recipes/hosts/x.csv:2: address: is outside the subnet; expected an address of "
            '10.20.0.0/16, got "10.30.1.1"'
            f"{NEXT}correct it, or the subnet of [netboot] in recipes/site.toml"
        ),
    ),
    (
        '[[import]]\nfile = "x.txt"\nformat = "machines"\n',
        "x.txt",
        "",
        (
            f"{HOSTS}:1: import[0].name: missing key, since such a file has no names; "
            f'expected a pattern like "node{{number:03}}" or "node-{{mac}}"'
            f'{NEXT}add: name = "node{{number:03}}"'
        ),
    ),
    (
        MACHINES + 'delimiter = ";"\n',
        "x.txt",
        "",
        (f'{HOSTS}:5: import[0].delimiter: is of no use with format = "machines"{NEXT}remove it'),
    ),
    (
        MACHINES + 'columns = { a = "mac" }\n',
        "x.txt",
        "",
        (f'{HOSTS}:5: import[0].columns: is of no use with format = "machines"{NEXT}remove it'),
    ),
    (
        '[[import]]\nfile = "x.txt"\nformat = "machines"\nname = "n"\n',
        "x.txt",
        "",
        (
            f"{HOSTS}:4: import[0].name: bad value; expected a pattern like "
            f'"node{{number:03}}" or "node-{{mac}}", got "n"{READ}'
        ),
    ),
    (
        '[[import]]\nfile = "x.txt"\nformat = "machines"\nname = "n{number.real}"\n',
        "x.txt",
        "",
        (
            f"{HOSTS}:4: import[0].name: bad value; expected a pattern like "
            f'"node{{number:03}}" or "node-{{mac}}", got "n{{number.real}}"{READ}'
        ),
    ),
    (
        '[[import]]\nfile = "x.txt"\nformat = "machines"\nname = "N{number}"\n',
        "x.txt",
        "",
        (
            f"{HOSTS}:4: import[0].name: bad value; expected a pattern like "
            f'"node{{number:03}}" or "node-{{mac}}", got "N{{number}}"{READ}'
        ),
    ),
    (
        MACHINES,
        "x.txt",
        "# x\n52:54:00:00:00:01\n",
        (
            "recipes/hosts/x.txt:2: bad line; expected a MAC address and a management "
            f"address, got 1 word{NEXT}write each machine in a line: aa:bb:cc:dd:ee:ff "
            "10.20.255.1"
        ),
    ),
    (
        MACHINES,
        "x.txt",
        "52:54:00:00:00:01 10.99.0.1 web\n",
        (
            "recipes/hosts/x.txt:1: bad line; expected a MAC address and a management "
            f"address, got 3 words{NEXT}write each machine in a line: aa:bb:cc:dd:ee:ff "
            "10.20.255.1"
        ),
    ),
    (
        MACHINES,
        "x.txt",
        "52:54:00:00:00:zz 10.99.0.1\n",
        (
            f"recipes/hosts/x.txt:1: mac: is not a MAC address; {NO_MAC}, got "
            f'"52:54:00:00:00:zz"{READ}'
        ),
    ),
    (
        MACHINES,
        "x.txt",
        "52:54:00:00:00:01 10.99.0.256\n",
        (
            "recipes/hosts/x.txt:1: management: bad value; expected an IPv4 address like "
            f'"10.20.0.7", got "10.99.0.256"{READ}'
        ),
    ),
    (
        MACHINES + ('[host.n2]\nmac = "52:54:00:00:00:09"\n'),
        "x.txt",
        "52:54:00:00:00:01 10.99.0.1\n52:54:00:00:00:02 10.99.0.2\n",
        (
            "recipes/hosts/x.txt:2: name: another host has this name; expected each name "
            f'once, got "n2", also at {HOSTS}:5: host.n2{TWICE}'
        ),
    ),
    (
        MACHINES,
        "x.txt",
        "52:54:00:00:00:01 10.99.0.1\n52:54:00:00:00:01 10.99.0.2\n",
        (
            "recipes/hosts/x.txt:2: mac: another host has this MAC address; expected each "
            "MAC address once, got 52:54:00:00:00:01, also at recipes/hosts/x.txt:1: "
            f"mac{TWICE}"
        ),
    ),
]


@pytest.mark.parametrize("hosts, message", RECIPES)
def test_a_recipe_that_cannot_be(lab, hosts, message):
    assert lab.message(hosts) == message


@pytest.mark.parametrize("hosts, name, content, message", FILES)
def test_a_file_of_hosts_that_cannot_be(lab, hosts, name, content, message):
    lab.write(f"recipes/hosts/{name}", content)
    assert lab.message(hosts) == message


# --- places that a file of hosts cannot be ------------------------------------------------

LEADS_OUT = (
    f'{HOSTS}:2: import[0].file: leads out of recipes/hosts through a symbolic link; got "x.csv"'
    f"{NEXT}put the file itself there"
)
NO_FILE = f'{HOSTS}:2: import[0].file: is not a regular file; got "x.csv"{NEXT}name a file of hosts'


@pytest.mark.parametrize("target", ["../site.toml", "/etc/passwd", "../../overlays"])
def test_a_link_that_leads_out(lab, target):
    (lab.root / "recipes/hosts").mkdir()
    (lab.root / "recipes/hosts/x.csv").symlink_to(target)
    assert lab.message(CSV) == LEADS_OUT


def test_a_directory_that_is_a_link_out(lab):
    (lab.root / "recipes/hosts").mkdir()
    (lab.root / "recipes/hosts/rack").symlink_to("..")
    assert lab.message(CSV.replace("x.csv", "rack/site.toml")) == LEADS_OUT.replace(
        "x.csv", "rack/site.toml"
    )


def test_a_link_to_itself(lab):
    (lab.root / "recipes/hosts").mkdir()
    (lab.root / "recipes/hosts/x.csv").symlink_to("x.csv")
    assert lab.message(CSV) == (
        f"{HOSTS}:2: import[0].file: cannot be read: Too many levels of symbolic links; "
        f'got "x.csv"{NEXT}let it be readable'
    )


def test_a_pipe_does_not_hold_the_build_up(lab):
    (lab.root / "recipes/hosts").mkdir()
    os.mkfifo(lab.root / "recipes/hosts/x.csv")
    assert lab.message(CSV) == NO_FILE


def test_a_directory(lab):
    (lab.root / "recipes/hosts/x.csv").mkdir(parents=True)
    assert lab.message(CSV) == NO_FILE


# --- too much ----------------------------------------------------------------------------


def test_a_file_that_is_too_large(lab):
    lab.write("recipes/hosts/x.csv", "name,mac\n")
    os.truncate(lab.root / "recipes/hosts/x.csv", (64 << 20) + 1)
    assert lab.message(CSV) == (
        f"{HOSTS}:2: import[0].file: is too large; expected at most 64 MiB"
        f"{NEXT}divide the inventory"
    )


def test_a_line_that_is_too_long(lab):
    lab.write("recipes/hosts/x.csv", "name,mac\n" + "x" * 8193)
    assert lab.message(CSV) == (
        "recipes/hosts/x.csv:2: is too long for a line; expected at most 8192 characters, "
        f"got 8193{NEXT}give each machine a line of its own"
    )


def test_more_hosts_than_there_may_be(lab, monkeypatch):
    monkeypatch.setattr(inventory_read, "MOST_HOSTS", 3)
    rows = "".join(f"n{at},52:54:00:00:00:0{at}\n" for at in range(1, 5))
    lab.write("recipes/hosts/x.csv", f"name,mac\n{rows}")
    assert lab.message(CSV) == (
        f"recipes/hosts/x.csv:5: too many hosts; expected at most 3 here{NEXT}divide the inventory"
    )
    assert lab.message(A + CSV).startswith("recipes/hosts/x.csv:4: too many hosts; ")
    hosts = "".join(f'[host.n{at}]\nmac = "52:54:00:00:00:0{at}"\n' for at in range(1, 5))
    assert lab.message(hosts) == (
        f"{HOSTS}:1: host: too many hosts; expected at most 3{NEXT}divide the inventory"
    )


def test_more_rules_than_there_may_be(lab):
    rules = "".join(f'[[rule]]\nprefix = "02:{at >> 8:02x}:{at & 255:02x}"\n' for at in range(1001))
    assert lab.message(rules) == f"{HOSTS}:1: rule: too many; expected at most 1000, got 1001{READ}"
    levels = ", ".join(f"l{at} = {at}" for at in range(251))
    bytes_ = "a = 0, b = 1, c = 2, d = 3"
    assert lab.message(
        f'[mac]\nfixed = "aa:bb"\nlevels = {{ {levels} }}\ntemplates = {{ {bytes_} }}\n'
    ) == (
        f"{HOSTS}:1: mac: makes too many rules; expected at most 1000 pairs of a level and a "
        f"template, got 1004{NEXT}name only levels and templates that there are"
    )


def test_more_values_than_there_may_be(lab):
    values = ", ".join(f'v{at} = ""' for at in range(101))
    assert lab.message(A + f"values = {{ {values} }}\n") == (
        f"{HOSTS}:3: host.a.values: too many; expected at most 100, got 101{READ}"
    )


def test_a_name_that_is_too_long_with_its_management(lab):
    recipe = f'[host.{LONG}]\nmac = "52:54:00:00:00:01"\n'
    assert lab.inventory(recipe).hosts[0].name == LONG
    assert lab.message(f'{recipe}management = "10.30.0.1"\n') == (
        f"{HOSTS}:1: host.{LONG}: is too long with the -mgmt of its management address; "
        f"expected at most 58 characters, got 60{NEXT}shorten it"
    )
    assert f"{HOSTS}:1: host.{LONG}aaaa: bad value; {NAME}" in lab.message(
        recipe.replace(LONG, f"{LONG}aaaa")
    )


# --- where, in a recipe of many hosts ----------------------------------------------------


def test_lines_of_a_large_recipe(lab):
    """So large that not all of it is parsed to find a line."""
    hosts = "".join(
        f'[host.n{at}]\nmac = "52:54:00:00:{at >> 8:02x}:{at & 255:02x}"\noptions = [\n'
        f'  "a",\n  "b={at}",\n]\n'
        for at in range(2000)
    )
    last = '[host.twice]\n\nmac = "52:54:00:00:07:00"\n'
    rule = '[[rule]]\nprefix = "02:01"\n[[rule]]\nmedia = "http"\nprefix = "02:01:02"\n'
    first = 7 * 256 * 6 + 2
    assert lab.message(hosts + last) == (
        f"{HOSTS}:12003: host.twice.mac: another host has this MAC address; expected each MAC "
        f"address once, got 52:54:00:00:07:00, also at {HOSTS}:{first}: host.n1792.mac{TWICE}"
    )
    assert lab.message(hosts + rule) == (
        f"{HOSTS}:12005: rule[1].prefix: begins as another prefix does; expected prefixes of "
        f"which none begins with another, got 02:01:02 here, 02:01 at {HOSTS}:12002: "
        f"rule[0].prefix{NEXT}remove one, write longer prefixes that differ, or name the "
        "machines as hosts"
    )
    assert lab.message(hosts.replace('"b=700"', '"b = 700"')).startswith(
        f"{HOSTS}:{700 * 6 + 5}: host.n700.options[1]: bad value; "
    )


def test_of_several_levels_the_last_one_is_told_that_it_cannot_be(lab):
    groups = '[group.g]\nmedia = "http"\n[group.h]\nparent = "g"\nmedia = "nfs"\n'
    assert lab.message(groups + A + 'group = "h"\ntemplate = "plain"\n').startswith(
        f"{HOSTS}:5: group.h.media: template plain cannot mount it: "
    )
