"""What ssh's and rsync's words mean; that they do what is asked is tested where they deliver."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootsmith.tools.rsync import _error
from bootsmith.tools.ssh import Login, connection_error

LOGIN = Login(destination="deploy@rack-2", port=2200, identity=Path("/keys/deploy"))
BY_HAND = "ssh -p 2200 -i /keys/deploy deploy@rack-2"


@pytest.mark.parametrize(
    "said,told",
    [
        (
            "@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@\n"
            "Host key verification failed.",
            "deploy@rack-2: shows another host key than the one that is known of it\n"
            "  next: make sure that it is the right machine; then forget the old key "
            f"(ssh-keygen -R) and log in once by hand: {BY_HAND}",
        ),
        (
            "Permissions 0644 for '/keys/deploy' are too open.\n"
            "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\n"
            "deploy@rack-2: Permission denied (publickey).",
            "deploy@rack-2: the identity can be read by others, so ssh does not use it\n"
            "  next: chmod 600 it",
        ),
        (
            "ssh: connect to host rack-2 port 2200: Connection timed out",
            "deploy@rack-2: cannot be reached, or the connection broke; "
            "got connect to host rack-2 port 2200: Connection timed out\n"
            f"  next: see that it is up and runs an ssh server: {BY_HAND}",
        ),
        (
            "",
            "deploy@rack-2: cannot be reached, or the connection broke; got ssh said nothing\n"
            f"  next: see that it is up and runs an ssh server: {BY_HAND}",
        ),
    ],
)
def test_what_ssh_says_becomes_one_message(said, told):
    assert str(connection_error(LOGIN, said)) == told


@pytest.mark.parametrize(
    "status,said,told",
    [
        (
            11,
            '     40,960  12%\nrsync: [receiver] write failed on "/srv/x": '
            "No space left on device (28)\nrsync error: error in file IO (code 11)",
            "deploy@rack-2: no space left on the disk there\n"
            "  next: free some room there, then doit publish again: it goes on from what is there",
        ),
        (
            12,
            "Connection to rack-2 closed by remote host.\n"
            "rsync: connection unexpectedly closed (8 bytes received so far) [sender]\n"
            "rsync error: error in rsync protocol data stream (code 12)",
            "deploy@rack-2: cannot be reached, or the connection broke; "
            "got Connection to rack-2 closed by remote host.\n"
            f"  next: see that it is up and runs an ssh server: {BY_HAND}",
        ),
        (
            23,
            "         10  12% 1.0MB/s\nrsync: [generator] chmod failed: Not owner (1)\n"
            "rsync error: some files were not transferred (code 23)",
            "rsync: exit status 23\n    rsync: [generator] chmod failed: Not owner (1)\n"
            "    rsync error: some files were not transferred (code 23)\n"
            "  next: see to what it names, then doit publish again: it goes on from what is there",
        ),
    ],
)  # fmt: skip
def test_what_rsync_says_becomes_one_message(status, said, told):
    assert str(_error(status, said, LOGIN)) == told


def test_nothing_is_ever_asked():
    options = " ".join(LOGIN.options)
    assert "-o BatchMode=yes" in options
    assert "-o StrictHostKeyChecking=yes" in options
    assert "-o ControlMaster=no -o ControlPath=none" in options
