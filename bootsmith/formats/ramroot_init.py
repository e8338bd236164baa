"""The first program of a RAM root that brings none of its own.

The kernel starts /init (its default for `rdinit=`) with nothing mounted. This one mounts what
every init expects and becomes the real one: same process, same words, same environment.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

PROGRAMS = ("/sbin/init", "/lib/systemd/systemd", "/bin/sh")
"""What is handed over to: the first of these that the root has."""

_SCRIPT = """\
#!/bin/sh
# The first program of this RAM root, made by bootsmith: mounts what any init expects and
# becomes the real one. A word init=PROGRAM for the kernel names another.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
@links@
mount -t proc -o nosuid,noexec,nodev proc /proc
mount -t sysfs -o nosuid,noexec,nodev sysfs /sys
mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts -o nosuid,noexec,gid=5,mode=0620 devpts /dev/pts

programs="@programs@"
read -r words </proc/cmdline
for word in $words; do
	case $word in
	init=*) programs="${word#init=} $programs" ;;
	esac
done
for program in $programs; do
	[ -x "$program" ] && exec "$program" "$@"
done
echo "init: none of these can be started: $programs"
exec sh
"""

_LINKS = """
# The names of busybox's applets: no script of its package has made them. Those that another
# package brings stay. It finds its own path in /proc.
@busybox@ mount -t proc proc /proc
@busybox@ --install -s
@busybox@ umount /proc
"""


def init_script(programs: Sequence[str] = PROGRAMS, *, unlinked_busybox: str = "") -> bytes:
    """The text of /init, which hands over to the first of `programs` that is there.

    `unlinked_busybox` is the path of a busybox whose applets have no names yet.
    """
    links = _LINKS.replace("@busybox@", shlex.quote(unlinked_busybox)) if unlinked_busybox else ""
    return _SCRIPT.replace("@links@", links).replace("@programs@", " ".join(programs)).encode()
