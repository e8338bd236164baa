"""Says under which conditions it runs: `python -m bootsmith.reproduce.witness ROOT PATH…`.

Started exactly as a build will be, so the table of conditions shows what a build met and not
what was asked for. Its own imports and its looks at ROOT (to be written) and at the PATHs (to
be read) tell beforehand whether another user can build here at all.
"""

from __future__ import annotations

import json
import locale
import os
import sys
import time
from pathlib import Path
from typing import Any

from bootsmith.tools.run import run_program


def testimony(root: Path, sources: list[Path]) -> dict[str, Any]:
    """Every condition as this process meets it."""
    umask = os.umask(0)
    os.umask(umask)
    unusable = [str(root)] if not os.access(root, os.R_OK | os.W_OK | os.X_OK) else []
    return {
        "unusable": unusable + [str(path) for path in sources if not os.access(path, os.R_OK)],
        "directory": str(root),
        "user": os.getuid(),
        "host": os.uname().nodename,
        "umask": f"{umask:04o}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        # Programs get an environment of their own: that they are told the date is no matter of
        # course. A day's difference is midnight, more is a clock that was not passed on.
        "programs_epoch": int(run_program(["date", "+%s"]).text),
        "epoch": int(time.time()),
        "time zone": time.strftime("%z"),
        "locale": os.environ.get("LC_ALL") or os.environ.get("LANG") or "C",
        "encoding": locale.getpreferredencoding(do_setlocale=False),
        "home": os.environ.get("HOME", ""),
        "processors": len(os.sched_getaffinity(0)),
        "hash seed": os.environ.get("PYTHONHASHSEED", "random"),
        "listing": os.listdir(root),
        "newest source": max(int(path.stat().st_mtime) for path in root.rglob("*.toml")),
    }


if __name__ == "__main__":
    json.dump(testimony(Path(sys.argv[1]), [Path(word) for word in sys.argv[2:]]), sys.stdout)
