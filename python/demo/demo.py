"""The demo: host programs that use RosterKit, on the accounts of a real server.

Without arguments it is the director: it runs each act in a process of its own, kills one of them in the middle of a callback,
and checks at the end that everything that was to be shown was seen.

    python demo.py [EXPORT]     the export of a server, XEP-0227
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, Optional

import acts
import decisions
import worlds
from stage import Failed, note

EXPORT = Path(__file__).resolve().parents[2] / "tests/fixtures/xep0227/ejabberd-23.01.xml"

#: What must have been seen when the curtain falls, in the order in which it is seen.
SHOWN = [
    "import",
    "roster by groups",
    "buddy request",
    "confirmed on both sides",
    "presence aggregated",
    "typing",
    "message delivered by callback",
    "copy",
    "idempotent repeat",
    "killed between delivery and return",
    "redelivered with its id",
    "offline messages in order",
    "original times",
    "history",
    "receipt",
    "avatar changed",
    "rule",
    "stranger in quarantine",
    "explanation",
    "handshake between two worlds",
    "presence between two worlds",
    "messages there and back",
    "what waited arrives in order",
    "nothing lost or doubled by a kill",
]


def direct(export: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "im.db")
        seen: list[str] = []
        print("RosterKit: host programs in Python, SQLite files, and the accounts of an ejabberd\n")
        act("The accounts come in", seen, "import", file, str(export))
        act("A conversation", seen, "conversation", file)
        held = act("A host dies in the middle of a callback", seen, "killed", file, kill=True)
        if held is None:
            raise Failed("the host that was to be killed got no message")
        note("the process was killed with SIGKILL; its listener never returned")
        seen.append("killed between delivery and return")
        act("The next host on the same file", seen, "again", file, held)
        act("Who was away", seen, "offline", file)
        act("What accounts decide, and why", seen, "decisions", file)
        act("Two worlds: another process, another file, another domain", seen, "worlds", folder)
    missing = [what for what in SHOWN if what not in seen]
    if missing:
        raise Failed(f"not seen: {missing}")
    print(f"\nseen: {', '.join(SHOWN)}")


def act(title: str, seen: list[str], *arguments: str, kill: bool = False) -> Optional[str]:
    """Runs an act in a process of its own and shows what it says.

    With `kill` it is killed as soon as it says that a message is in its listener's hands, whose id is given back.
    """
    print(f"── {title}", flush=True)
    held = None
    process = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("SEEN "):
                seen.append(line[5:].strip())
            elif line.startswith("IN HAND "):
                held = line[8:].strip()
                if kill:
                    process.kill()
            else:
                print(line, end="", flush=True)
        status = process.wait()
    finally:
        process.kill()
        process.wait()
    if status != 0 and not kill:
        raise Failed(f"the act {arguments[0]!r} failed")
    return held


ACTS: dict[str, Callable[..., None]] = {
    "import": acts.comes_in,
    "conversation": acts.conversation,
    "killed": acts.killed,
    "again": acts.again,
    "offline": acts.offline,
    "decisions": decisions.decisions,
    "worlds": worlds.two_worlds,
    "other": worlds.other_world,
}


def main() -> int:
    try:
        if sys.argv[1:2] and sys.argv[1] in ACTS:
            ACTS[sys.argv[1]](*sys.argv[2:])
        else:
            direct(Path(sys.argv[1]) if sys.argv[1:] else EXPORT)
    except Failed as failed:
        print(f"the demo failed: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
