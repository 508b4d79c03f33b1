"""The values that go in and come out. All of them are immutable."""

from __future__ import annotations

import enum
import json as _json
from dataclasses import dataclass, field
from typing import Any, Optional, Union


class PresenceState(str, enum.Enum):
    """A presence state. Wherever one is taken its text does too: `set_presence("on-phone")`."""

    ONLINE = "online"
    CHAT = "chat"
    BUSY = "busy"
    ON_PHONE = "on-phone"
    IN_MEETING = "in-meeting"
    AWAY = "away"
    BE_BACK = "be-back"
    OUT_TO_LUNCH = "out-to-lunch"
    EXTENDED_AWAY = "extended-away"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


class PresenceLayer(str, enum.Enum):
    """Who set a presence. What a person set by hand stays; what a program set shows only where the person has set nothing."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"


class Visibility(str, enum.Enum):
    """How much an account lets a buddy see of its presence. Who sees nothing is not blocked: what they send comes."""

    FULL = "full"
    STATE_ONLY = "state-only"
    HIDDEN = "hidden"


class LastSeenPrecision(str, enum.Enum):
    """What an account lets those know of when it was last there who see all of its presence."""

    EXACT = "exact"
    ROUGH = "rough"
    NOTHING = "nothing"


class LastSeenWhen(str, enum.Enum):
    """When an account was last there: now, at a time, within three, seven or thirty days, or before that."""

    ONLINE = "online"
    AT = "at"
    RECENTLY = "recently"
    WITHIN_WEEK = "within-week"
    WITHIN_MONTH = "within-month"
    LONG_AGO = "long-ago"


class BuddyStatus(str, enum.Enum):
    """How two people stand, as one of them sees it."""

    UNRELATED = "none"
    REQUESTED = "requested"
    ASKING = "asking"
    CONFIRMED = "confirmed"


class Outcome(str, enum.Enum):
    """The word with which a send is answered. All of them mean: on disk."""

    DELIVERED = "Delivered"
    STORED = "Stored"
    QUEUED = "Queued"


class ChatState(str, enum.Enum):
    """What somebody does in a conversation."""

    COMPOSING = "composing"
    PAUSED = "paused"
    ACTIVE = "active"
    INACTIVE = "inactive"
    GONE = "gone"


class Activity(str, enum.Enum):
    """What the person does with the app."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"
    SUSPENDED = "suspended"


class AcceptedSenders(str, enum.Enum):
    """Whose messages an account takes when the sender is no confirmed buddy."""

    EVERYBODY = "everybody"
    AUTHENTICATED = "authenticated"
    SAME_DOMAIN = "same-domain"
    NOBODY = "nobody"
    QUARANTINE = "quarantine"


class Receipts(str, enum.Enum):
    """What an account lets those know who write to it: that a client took it and a person has read it, the former, neither."""

    ALL = "all"
    DELIVERED = "delivered"
    NOTHING = "nothing"


class ReceiptState(str, enum.Enum):
    """What is known of the recipient of a message: a client of theirs took it, or a person has read it."""

    DELIVERED = "delivered"
    DISPLAYED = "displayed"


@dataclass(frozen=True)
class Receipt:
    """What became of a send."""

    message_id: str
    position: int
    outcome: Outcome
    time_ms: int


@dataclass(frozen=True)
class Relayed:
    """Another system has taken it."""


@dataclass(frozen=True)
class Failed:
    """It never got to where it was to go. `reason` is for its sender to read."""

    reason: str


@dataclass(frozen=True)
class Expired:
    """Nobody is known to have taken it in time."""


#: What became of a message after it was accepted.
FinalOutcome = Union[Relayed, Failed, Expired]


@dataclass(frozen=True)
class Amended:
    """When the author of a message last changed it; one that is retracted has no content any more."""

    time_ms: int
    is_retracted: bool


@dataclass(frozen=True)
class Data:
    """Data with its media type, as the body of a message."""

    media_type: str
    content: bytes


@dataclass(frozen=True)
class Message:
    """A message as a session sees it. `id` is the same each time it comes; positions are opaque and only rise.

    `outcome` tells what became of one that a relay has carried, or whose time is up. `receipt` is there in the history,
    with one's own messages, as soon as something is known of their recipient.
    """

    position: int
    id: str
    sender: str
    recipient: str
    time_ms: int
    is_copy: bool
    body: Union[str, Data]
    extensions: bytes = b""
    outcome: Optional[FinalOutcome] = None
    reply_to: Optional[str] = None
    amended: Optional[Amended] = None
    expires_ms: Optional[int] = None
    receipt: Optional[ReceiptState] = None

    @property
    def text(self) -> Optional[str]:
        """The text, when it is one."""
        return self.body if isinstance(self.body, str) else None


@dataclass(frozen=True)
class HistoryPage:
    """A page of history, oldest first; `complete` when there is nothing further in the direction asked for."""

    messages: tuple[Message, ...]
    complete: bool


@dataclass(frozen=True)
class SearchPage:
    """What was found in a history, newest first.

    Everything was looked through down to the position `searched`: the next page is asked for before it. `None` when there is
    nothing older.
    """

    messages: tuple[Message, ...]
    searched: Optional[int]


@dataclass(frozen=True)
class Conversation:
    """What went between an account and a peer, in short.

    `position` is its place among the others. The account's people have read what the peer sent up to `read`; of what the
    account sent the peer's clients have taken everything up to `delivered`, and people have read up to `displayed`.
    """

    peer: str
    position: int
    latest: Message
    unread: int
    read: int
    delivered: int
    displayed: int


@dataclass(frozen=True)
class ConversationsPage:
    """A page of conversations, the latest first; `complete` when there are no more."""

    conversations: tuple[Conversation, ...]
    complete: bool


@dataclass(frozen=True)
class Presence:
    """What watchers see of an account. `avatar` is the hash of the image in its vCard (XEP-0153), while it is not offline."""

    state: PresenceState
    note: Optional[str] = None
    avatar: Optional[str] = None
    #: What only clients understand.
    extensions: bytes = b""


@dataclass(frozen=True)
class LastSeen:
    """When an account was last there, as precisely as it says: `time_ms` is there when `when` is `at`."""

    when: LastSeenWhen
    time_ms: Optional[int] = None


@dataclass(frozen=True)
class Buddy:
    """A buddy. `name` is empty when the owner gave none."""

    address: str
    name: str
    groups: tuple[str, ...]
    status: BuddyStatus
    sees_them: bool
    sees_me: bool
    is_listed: bool


@dataclass(frozen=True)
class Roster:
    """A roster, or what changed in it: then those that are gone are there, not listed."""

    buddies: tuple[Buddy, ...]
    version: int


@dataclass(frozen=True)
class PreferenceOverrides:
    """What is set on one level. What is `None` falls through to the level below."""

    accepted_senders: Optional[AcceptedSenders] = None
    offline_storage: Optional[bool] = None
    keep_history: Optional[bool] = None
    deliver_to_devices: Optional[bool] = None
    max_roster_items: Optional[int] = None
    receipts: Optional[Receipts] = None
    storage_files: Optional[int] = None
    storage_bytes: Optional[int] = None
    utc_offset_minutes: Optional[int] = None
    last_seen: Optional[LastSeenPrecision] = None
    history_days: Optional[int] = None
    history_messages: Optional[int] = None


@dataclass(frozen=True)
class Preferences:
    """What is in force for an account."""

    accepted_senders: AcceptedSenders
    offline_storage: bool
    keep_history: bool
    deliver_to_devices: bool
    max_roster_items: int
    receipts: Receipts
    storage_files: int
    storage_bytes: int
    utc_offset_minutes: int
    last_seen: LastSeenPrecision
    history_days: int
    history_messages: int


@dataclass(frozen=True)
class FileInfo:
    """A file, but for what is in it. The size of the messages with a peer, rendered when they are read, is 0."""

    path: str
    size: int
    modified_ms: int


class RegistrationKind(str, enum.Enum):
    """A contact is somebody who is there, as with a SIP registration; push is somebody who can be woken, as with a token."""

    CONTACT = "contact"
    PUSH = "push"


@dataclass(frozen=True)
class Registration:
    """A contact of an account that is no session. `contact` is for the host alone: a SIP URI, a push token."""

    name: str
    kind: RegistrationKind
    contact: str
    expires_ms: int


@dataclass(frozen=True)
class HostEvent:
    """Something that the host itself is asked to do."""


@dataclass(frozen=True)
class OpenUrl(HostEvent):
    """A rule says that a URL is to be opened. `rule` is its level and its name."""

    account: str
    rule: str
    url: str
    message_id: str


@dataclass(frozen=True)
class RulePush(HostEvent):
    """A rule says that the account's devices are to be sent a notification."""

    account: str
    rule: str
    text: str
    message_id: str


@dataclass(frozen=True)
class Deliver(HostEvent):
    """A message is to be delivered to a contact that is registered; `commands.claim` says that it was."""

    account: str
    registration: str
    contact: str
    message: Message


@dataclass(frozen=True)
class Push(HostEvent):
    """A device is to be woken: something came, and no session is there to take it. `sender` is the collapse key."""

    account: str
    registration: str
    contact: str
    reason: str
    sender: str
    message_id: str
    position: int
    badge: int
    expires_ms: Optional[int]


@dataclass(frozen=True)
class Missed(HostEvent):
    """So many were lost before the next: nobody took them in time."""

    count: int


@dataclass(frozen=True)
class OtherHostEvent(HostEvent):
    """A kind that this version has no class for."""

    kind: str


@dataclass(frozen=True)
class Limits:
    """Sizes, rates and counts. What is `None` is as the engine has it."""

    message_bytes: Optional[int] = None
    send_burst: Optional[int] = None
    sends_per_minute: Optional[int] = None
    request_burst: Optional[int] = None
    requests_per_minute: Optional[int] = None
    unanswered_requests: Optional[int] = None
    unclaimed_count: Optional[int] = None
    unclaimed_bytes: Optional[int] = None
    unclaimed_from_one_count: Optional[int] = None
    unclaimed_from_one_bytes: Optional[int] = None


@dataclass(frozen=True)
class ExportSummary:
    """How much an export holds: accounts, buddies on their rosters, messages waiting for them."""

    accounts: int
    buddies: int
    messages: int


@dataclass(frozen=True)
class ImportSummary:
    """What an import brought."""

    accounts: int
    buddies: int
    messages: int


@dataclass(frozen=True)
class Event:
    """What a session is told. `seq` rises with each event handed out; one that comes again has a new one."""

    seq: int = field(compare=False)


@dataclass(frozen=True)
class MessageReceived(Event):
    """A message to the account, or a copy of one that another session of it sent."""

    message: Message


@dataclass(frozen=True)
class BuddyRequested(Event):
    """Somebody asks to be a buddy: confirm or decline."""

    position: int
    sender: str
    note: str
    time_ms: int


@dataclass(frozen=True)
class OutcomeTold(Event):
    """What became of a message: the relay's last word, when it was answered with `Outcome.QUEUED`, or that its time is up."""

    position: int
    message_id: str
    recipient: str
    outcome: FinalOutcome


@dataclass(frozen=True)
class MessageAmended(Event):
    """The author of a message changed it, or took it back: then there is no `body`.

    `position` is this change's place, `message_position` the message's.
    """

    position: int
    message_position: int
    message_id: str
    sender: str
    recipient: str
    time_ms: int
    is_copy: bool
    body: Union[str, Data, None]


@dataclass(frozen=True)
class MessagesDelivered(Event):
    """What the account sent to this peer was taken by a client of theirs, all of it up to that position."""

    peer: str
    upto: int


@dataclass(frozen=True)
class MessagesDisplayed(Event):
    """What the account sent to this peer was read by a person, all of it up to that position."""

    peer: str
    upto: int


@dataclass(frozen=True)
class MessagesRead(Event):
    """What this peer sent was read in another session of the account's, all of it up to that position."""

    peer: str
    upto: int


@dataclass(frozen=True)
class PresenceChanged(Event):
    """A buddy's presence, or the account's own as others see it."""

    subject: str
    presence: Presence


@dataclass(frozen=True)
class SnapshotEnded(Event):
    """Every buddy's presence has been told since this session came online; from here on come changes."""


@dataclass(frozen=True)
class RosterChanged(Event):
    """The roster changed: the buddy as it is now."""

    buddy: Buddy


@dataclass(frozen=True)
class TypingChanged(Event):
    """Somebody is typing, or stopped. Ends by itself after 30 s."""

    sender: str
    state: ChatState


@dataclass(frozen=True)
class MessageParked(Event):
    """A message failed three times in this session's hands. It is kept, and delivery has moved on."""

    message_id: str


@dataclass(frozen=True)
class QuarantineChanged(Event):
    """So many messages from strangers wait in quarantine now: `Session.quarantined` reads them."""

    messages: int


@dataclass(frozen=True)
class ConversationChanged(Event):
    """For an observer: a conversation of the account's is another."""

    conversation: Conversation


@dataclass(frozen=True)
class BlockListChanged(Event):
    """Whom the account blocks is another: `Session.blocked` reads it."""


@dataclass(frozen=True)
class PreferencesChanged(Event):
    """What is in force for the account is another: `Session.preferences` reads it."""


@dataclass(frozen=True)
class HistoryForgotten(Event):
    """The account's owner made its history forget what there was up to there, with a peer or with everybody (`None`)."""

    peer: Optional[str]
    upto: int


@dataclass(frozen=True)
class QueryAsked(Event):
    """Another session asks this one: `Session.answer_query` answers, within 30 s."""

    query: int
    sender: str
    body: Union[str, Data]


@dataclass(frozen=True)
class QueryAnswered(Event):
    """What became of a query of this session's. Without a body nobody is there for who asks, or answered in time."""

    query: int
    body: Union[str, Data, None]


@dataclass(frozen=True)
class ResyncNeeded(Event):
    """Something was left out: read roster and presence again. Messages are not affected."""


@dataclass(frozen=True)
class SessionEnded(Event):
    """The session has ended; nothing follows. `reason` is a word such as `shutdown` or `replaced`."""

    reason: str


@dataclass(frozen=True)
class OtherEvent(Event):
    """A kind that this version has no class for. Ignore it, or look at `kind` and `json`."""

    kind: str
    json: str

    def data(self) -> Any:
        """The JSON, read."""
        return _json.loads(self.json)


@dataclass(frozen=True)
class Batch:
    """Events of one session, for who reads many sessions in one place."""

    session_id: int
    events: tuple[Event, ...]
