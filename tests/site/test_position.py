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
