"""Lines of keys, however the TOML is written."""

from __future__ import annotations

import pytest

from bootsmith.site.position import line_of

TEXT = '''\
# a comment with name = 1
name = "x"
"quoted key" = 1
list = [
  "one",
  # between
  "two", "three",
  ["four"],
]
text = """
name = 2
inner = 3
"""
after.dotted = true

[table]
name = 1
inline = { name = 2, deep = { x = 1 } }

[table.sub]
name = 4

[[many]]
name = 5

[[many]]
name = 6
'''


@pytest.mark.parametrize(
    "keys, line",
    [
        (["name"], 2),
        (["quoted key"], 3),
        (["list"], 4),
        (["list", 0], 5),
        (["list", 1], 7),
        (["list", 2], 7),
        (["list", 3], 8),
        (["text"], 10),
        (["after"], 14),
        (["after", "dotted"], 14),
        (["table"], 16),
        (["table", "name"], 17),
        (["table", "inline", "deep", "x"], 18),
        (["table", "sub"], 20),
        (["table", "sub", "name"], 21),
        (["many"], 23),
        (["many", 0, "name"], 24),
        (["many", 1, "name"], 27),
        (["inner"], None),
        (["table", "nothing"], None),
        (["list", 9], 4),
        ([], None),
    ],
)
def test_every_key_has_its_line(keys, line):
    assert line_of(TEXT, keys) == line


def test_a_long_file_is_not_read_line_by_line():
    text = "".join(f'[host-{number}]\nmac = "x"\nname = """\n"""\n' for number in range(2000))
    assert line_of(text, ["host-1500", "mac"]) == 1500 * 4 + 2


# --- in a text so large that only a part of it is parsed ----------------------------------

FILLING = "".join(f'[host.n{at}]\nname = "x"\n' for at in range(3000))
LARGE = f"""\
top = 1
{FILLING}
[host.web]
list = [
  "[host.n1]",
  "two",
]

[host.web.values]
rack = "r2"

  [ host . "odd name" ]  # a comment
name = 3

[[rule]]
prefix = "a"
[[rule]]
prefix = "b"
[host.more]
late = {{ name = 1 }}
[other]
host.n7 = 1
"""
START = FILLING.count("\n") + 1


@pytest.mark.parametrize(
    "keys, line",
    [
        (["top"], 1),
        (["host", "n2999", "name"], START),
        (["host", "n2999"], START - 1),
        (["host", "web"], START + 2),
        (["host", "web", "list", 1], START + 5),
        (["host", "web", "values", "rack"], START + 9),
        (["host", "odd name", "name"], START + 12),
        (["rule", 0, "prefix"], START + 15),
        (["rule", 1, "prefix"], START + 17),
        (["rule", 1], START + 16),
        (["host", "more", "late", "name"], START + 19),
        (["other", "host", "n7"], START + 21),
        (["host", "web", "absent"], None),
        (["host", "absent"], None),
    ],
)
def test_lines_of_a_large_text(keys, line):
    assert line_of(LARGE, keys) == line


def test_a_part_that_only_looks_like_a_table_is_not_taken_for_one():
    text = f'text = """\n[host.web]\nname = 1\n"""\n{FILLING}[host.web]\nname = 2\n'
    assert line_of(text, ["host", "web", "name"]) == text.count("\n")
