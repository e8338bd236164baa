"""`power` of [netboot]: a command without a shell, and what it may say."""

from __future__ import annotations

import pytest

from bootsmith.site.models import POWER_COMMAND


@pytest.mark.parametrize(
    "text",
    [
        "ipmitool -H {management} -U admin -f /etc/ipmi.password chassis power cycle",
        "/usr/local/bin/power_cycle {name}",
        "wakeonlan {mac}",
        "virsh reset vm-{name}-{address}",
    ],
)
def test_a_command(text):
    assert POWER_COMMAND.accepts(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ipmitool", "ipmitool  -H", "ipmitool -H {managment}", "{management}", "-H x",
        "sh -c 'reset'", 'echo "{name}"', "echo }{", "echo {{name}}", "echo \\{name}",
        "echo \u00e9", "echo\nreboot", "x" * 1001,
    ],
)  # fmt: skip
def test_no_command(text):
    assert not POWER_COMMAND.accepts(text)
