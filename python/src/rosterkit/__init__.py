"""RosterKit: accounts with rosters, presence and durable instant messages, in your process.

    with rosterkit.Engine.open("im.db", domains=["example.org"]) as engine:
        engine.create_account("alice@example.org")
        alice = engine.open_session("alice@example.org", device="phone")
        receipt = alice.send("bob@example.org", "hello")  # on disk when this returns
        for event in alice.events(timeout=1):
            ...

`rosterkit.aio` has the same for asyncio.
"""

from . import commands
from ._listening import AnyListener, Listener
from ._logging import set_log_level
from ._native import call as _call
from ._native import native as _native
from .commands import Answered, Command
from .engine import Engine
from .errors import (
    Closed,
    Conflict,
    Forbidden,
    Internal,
    InvalidArgument,
    LimitExceeded,
    Misuse,
    NotFound,
    RosterKitError,
    Storage,
    Unreachable,
)
from .model import (
    AcceptedSenders,
    Activity,
    Batch,
    Buddy,
    BuddyRequested,
    BuddyStatus,
    ChatState,
    Data,
    Event,
    HistoryPage,
    ImportSummary,
    Limits,
    Message,
    MessageParked,
    MessageReceived,
    OtherEvent,
    Outcome,
    PreferenceOverrides,
    Preferences,
    Presence,
    PresenceChanged,
    PresenceState,
    Receipt,
    ResyncNeeded,
    Roster,
    RosterChanged,
    SessionEnded,
    SnapshotEnded,
    TypingChanged,
)
from .session import Session

#: The version of the library.
__version__: str = _call(_native.version)
#: The revision of the sources it was built from.
__git_revision__: str = _call(_native.git_revision)

__all__ = [
    "AcceptedSenders",
    "Activity",
    "Answered",
    "AnyListener",
    "Batch",
    "Buddy",
    "BuddyRequested",
    "BuddyStatus",
    "ChatState",
    "Closed",
    "Command",
    "Conflict",
    "Data",
    "Engine",
    "Event",
    "Forbidden",
    "HistoryPage",
    "ImportSummary",
    "Internal",
    "InvalidArgument",
    "LimitExceeded",
    "Limits",
    "Listener",
    "Message",
    "MessageParked",
    "MessageReceived",
    "Misuse",
    "NotFound",
    "OtherEvent",
    "Outcome",
    "PreferenceOverrides",
    "Preferences",
    "Presence",
    "PresenceChanged",
    "PresenceState",
    "Receipt",
    "ResyncNeeded",
    "Roster",
    "RosterChanged",
    "RosterKitError",
    "Session",
    "SessionEnded",
    "SnapshotEnded",
    "Storage",
    "TypingChanged",
    "Unreachable",
    "commands",
    "set_log_level",
]
