"""Power cycling: the site's own command, once a machine, with what is known of the machine."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bootsmith.errors import BootsmithError, PublishError
from bootsmith.formats.inventory import Host
from bootsmith.tools.run import run_program

_WORD = re.compile(r"\{([a-z]+)\}")
# A management controller that does not answer is given up.
_PATIENCE_SECONDS = 60.0


def power_commands(command: Sequence[str], hosts: Sequence[Host]) -> list[list[str]]:
    """The command of each host. PublishError where there is none, or a host lacks what it says."""
    if not command:
        raise PublishError(
            "recipes/site.toml",
            "says no command that power cycles machines",
            expected="power of [netboot]",
            hint='for instance: power = "ipmitool -H {management} chassis power cycle"',
        )
    return [[_filled_in(word, host) for word in command] for host in hosts]


def _filled_in(word: str, host: Host) -> str:
    def value(match: re.Match[str]) -> str:
        known = {
            "name": host.name,
            "mac": host.mac,
            "address": host.address,
            "management": host.management,
        }[match[1]]
        if known is None:
            raise PublishError(
                host.name,
                f"has no {match[1]} address, which the command for its power needs",
                hint=f"give it one in recipes/hosts.toml ({match[1]} = ...), or leave --power out",
            )
        return known

    return _WORD.sub(value, word)


def power_cycle(command: Sequence[str], host: Host) -> None:
    """Run the command of a host that is armed; PublishError if it fails."""
    try:
        run_program(command, timeout_seconds=_PATIENCE_SECONDS, needed_by="doit arm --power")
    except BootsmithError as error:
        raise PublishError(
            host.name,
            f"is armed, but could not be power cycled: {error.message}",
            hint=error.hint,
        ) from error
