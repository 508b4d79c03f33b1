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
from .link import LinkState, PeerLink
from .model import (
    AcceptedSenders,
    Activity,
    Amended,
    Batch,
    Buddy,
    BuddyRequested,
    BuddyStatus,
    ChatState,
    Conversation,
    ConversationsPage,
    Data,
    Event,
    Expired,
    Failed,
    FinalOutcome,
    HistoryPage,
    ImportSummary,
    Limits,
    Message,
    MessageAmended,
    MessageParked,
    MessageReceived,
    MessagesDelivered,
    MessagesDisplayed,
    MessagesRead,
    OtherEvent,
    Outcome,
    OutcomeTold,
    PreferenceOverrides,
    Preferences,
    Presence,
    PresenceChanged,
    PresenceState,
    Receipt,
    ReceiptState,
    Receipts,
    Relayed,
    ResyncNeeded,
    Roster,
    RosterChanged,
    SessionEnded,
    SnapshotEnded,
    TypingChanged,
)
from .relay import (
    Handshake,
    HandshakeStep,
    Notice,
    Parcel,
    PresenceAsked,
    PresenceShown,
    Relay,
    RelayedMessage,
    Retry,
    Settlement,
    Superseded,
    TypingTold,
)
from .session import Session

#: The version of the library.
__version__: str = _call(_native.version)
#: The revision of the sources it was built from.
__git_revision__: str = _call(_native.git_revision)

__all__ = [
    "AcceptedSenders",
    "Activity",
    "Amended",
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
    "Conversation",
    "ConversationsPage",
    "Data",
    "Engine",
    "Event",
    "Expired",
    "Failed",
    "FinalOutcome",
    "Forbidden",
    "Handshake",
    "HandshakeStep",
    "HistoryPage",
    "ImportSummary",
    "Internal",
    "InvalidArgument",
    "LimitExceeded",
    "Limits",
    "LinkState",
    "Listener",
    "Message",
    "MessageAmended",
    "MessageParked",
    "MessageReceived",
    "MessagesDelivered",
    "MessagesDisplayed",
    "MessagesRead",
    "Misuse",
    "NotFound",
    "Notice",
    "OtherEvent",
    "Outcome",
    "OutcomeTold",
    "Parcel",
    "PeerLink",
    "PreferenceOverrides",
    "Preferences",
    "Presence",
    "PresenceAsked",
    "PresenceChanged",
    "PresenceShown",
    "PresenceState",
    "Receipt",
    "ReceiptState",
    "Receipts",
    "Relay",
    "Relayed",
    "RelayedMessage",
    "ResyncNeeded",
    "Retry",
    "Roster",
    "RosterChanged",
    "RosterKitError",
    "Session",
    "SessionEnded",
    "Settlement",
    "SnapshotEnded",
    "Storage",
    "Superseded",
    "TypingChanged",
    "TypingTold",
    "Unreachable",
    "commands",
    "set_log_level",
]
