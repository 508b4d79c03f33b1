"""Relays: a transport of the host's, to addresses that the engine does not host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional, Union

from . import _convert, model
from ._native import Owner, native
from ._waiting import Interrupts, in_slices
from .errors import Closed, InvalidArgument
from .model import Failed, Relayed


@dataclass(frozen=True)
class RelayedMessage:
    """A message on its way between two systems.

    `delivery_id` is what this delivery is called, the same each time it is tried: one that comes in again within 48 h is not
    accepted again. `message_id` is the id it has where it was accepted, a UUID; `time_ms` when that was. `edits` is the id of
    the same sender's earlier message that has this one's body from now on, `retracts` of the one that has none any more.
    """

    body: Union[str, model.Data]
    delivery_id: Optional[str] = None
    message_id: Optional[str] = None
    instance: Optional[str] = None
    time_ms: Optional[int] = None
    extensions: bytes = b""
    reply_to: Optional[str] = None
    edits: Optional[str] = None
    retracts: Optional[str] = None
    expires_ms: Optional[int] = None


class HandshakeStep(Enum):
    """A step of the buddy handshake."""

    ADD = "add"
    REMOVE = "remove"
    SUBSCRIBE = "subscribe"
    SUBSCRIBED = "subscribed"
    UNSUBSCRIBE = "unsubscribe"
    UNSUBSCRIBED = "unsubscribed"


@dataclass(frozen=True)
class Handshake:
    """A change of the sender's roster that concerns the recipient; `stamp` tells newer ones from older."""

    step: HandshakeStep
    stamp: int
    note: str = ""
    delivery_id: Optional[str] = None
    token: Optional[str] = field(default=None, repr=False)


@dataclass(frozen=True)
class Parcel:
    """Durable signals of one sender to one recipient, in order. The next one of the two follows when it is settled."""

    sender: str
    recipient: str
    contents: Union[tuple[RelayedMessage, ...], Handshake]

    @property
    def delivery_ids(self) -> tuple[Optional[str], ...]:
        """What each of its items is settled by."""
        if isinstance(self.contents, Handshake):
            return (self.contents.delivery_id,)
        return tuple(message.delivery_id for message in self.contents)


@dataclass(frozen=True)
class PresenceShown:
    """What somebody shows to somebody."""

    subject: str
    watcher: str
    presence: model.Presence


@dataclass(frozen=True)
class PresenceAsked:
    """Somebody asks what somebody shows; the answer is a `PresenceShown`."""

    watcher: str
    subject: str


@dataclass(frozen=True)
class TypingTold:
    """Somebody is typing, or stopped."""

    sender: str
    recipient: str
    state: model.ChatState


@dataclass(frozen=True)
class Superseded:
    """Of a handshake: the other side knows a newer version, this one, and changed nothing."""

    stamp: int


@dataclass(frozen=True)
class Retry:
    """Not now: it is given out again, with back-off."""


#: What became of one item of a parcel.
Settlement = Union[Relayed, Failed, Superseded, Retry]
#: What nobody keeps.
Notice = Union[PresenceShown, PresenceAsked, TypingTold]


class Relay(Owner):
    """A relay, open. While it has no connection, messages to its domains are accepted and wait on disk, for 24 h."""

    def __init__(self, handle: Any, is_virtual: bool) -> None:
        super().__init__()
        self._handle = handle
        self._is_virtual = is_virtual
        self._waits = Interrupts()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close()
        except Closed:
            # A fork leaves the block as well, and has nothing to close.
            pass

    def connect(self) -> None:
        """There is a connection: what waits is given out, and presence is asked for and told anew."""
        self._call(self._handle.connect)

    def disconnect(self) -> None:
        """The connection is gone: what it had in hand and did not settle is given out again to the next one."""
        self._call(self._handle.disconnect)

    def next_outgoing(
        self, max_items: int = 64, timeout: Optional[float] = None
    ) -> list[Union[Parcel, PresenceShown, PresenceAsked, TypingTold]]:
        """Takes what is to be carried, waiting for the first; empty when none came or it was interrupted."""
        taken = in_slices(
            lambda ms: list(self._call(self._handle.next_outgoing, max_items, ms)),
            timeout,
            self._is_virtual,
            self._waits,
        )
        return [_parcel(one.parcel) if one.is_PARCEL_READY() else _notice(one.notice) for one in taken]

    def interrupt(self) -> None:
        """Ends a wait in `next_outgoing`, or the next one."""
        self._waits.rise()
        self._call(self._handle.interrupt)

    def settle(self, delivery_id: str, settlement: Settlement = Relayed()) -> None:
        """Says what became of an item, by its delivery id; also of one that an earlier run gave out."""
        self._call(self._handle.settle, delivery_id, _lowered_settlement(settlement))

    def receive(self, parcel: Parcel) -> list[Settlement]:
        """Takes a parcel in: one settlement for each of its items, when what follows from it is on disk.

        When it raises, nothing of it was taken, and it may come again.
        """
        return [_settlement(one) for one in self._call(self._handle.receive, _lowered_parcel(parcel))]

    def receive_notice(self, notice: Notice) -> None:
        """Takes a notice in."""
        self._call(self._handle.receive_notice, _lowered_notice(notice))

    def close(self) -> None:
        """Closes the relay: its domains are unreachable from here on. What waits stays on disk. Idempotent."""
        self._call(self._handle.shutdown)


# ---- to and from the library --------------------------------------------------------------------------------------


def _parcel(given: Any) -> Parcel:
    contents = given.contents
    if contents.is_MESSAGES():
        return Parcel(given.sender, given.recipient, tuple(_message(one) for one in contents.messages))
    step = HandshakeStep[contents.step.name]
    handshake = Handshake(step, contents.stamp, contents.note, contents.delivery_id, contents.token)
    return Parcel(given.sender, given.recipient, handshake)


def _message(given: Any) -> RelayedMessage:
    return RelayedMessage(
        _convert.body(given.body),
        given.delivery_id,
        given.message_id,
        given.instance,
        given.time_ms,
        given.extensions or b"",
        given.reply_to,
        given.edits,
        given.retracts,
        given.expires_ms,
    )


def _lowered_parcel(given: Parcel) -> Any:
    contents = given.contents
    if isinstance(contents, Handshake):
        lowered = native.ParcelContents.HANDSHAKE(
            delivery_id=contents.delivery_id,
            step=native.HandshakeStep[contents.step.name],
            stamp=contents.stamp,
            note=contents.note,
            token=contents.token,
        )
    else:
        lowered = native.ParcelContents.MESSAGES(messages=_lowered_messages(contents))
    return native.Parcel(sender=given.sender, recipient=given.recipient, contents=lowered)


def _lowered_messages(given: Sequence[RelayedMessage]) -> list[Any]:
    def lowered(message: RelayedMessage) -> Any:
        return native.RelayedMessage(
            delivery_id=message.delivery_id,
            message_id=message.message_id,
            instance=message.instance,
            time_ms=message.time_ms,
            body=_convert.lowered_body(message.body),
            extensions=message.extensions or None,
            reply_to=message.reply_to,
            edits=message.edits,
            retracts=message.retracts,
            expires_ms=message.expires_ms,
        )

    return [lowered(message) for message in given]


def _settlement(given: Any) -> Settlement:
    if given.is_RELAYED():
        return Relayed()
    if given.is_FAILED():
        return Failed(given.reason)
    return Superseded(given.stamp) if given.is_SUPERSEDED() else Retry()


def _lowered_settlement(given: Settlement) -> Any:
    if isinstance(given, Relayed):
        return native.Settlement.RELAYED()
    if isinstance(given, Failed):
        return native.Settlement.FAILED(reason=given.reason)
    if isinstance(given, Superseded):
        return native.Settlement.SUPERSEDED(stamp=given.stamp)
    return native.Settlement.RETRY()


def _notice(given: Any) -> Notice:
    if given.is_PRESENCE_SHOWN():
        return PresenceShown(given.subject, given.watcher, _convert.presence(given.presence))
    if given.is_PRESENCE_ASKED():
        return PresenceAsked(given.watcher, given.subject)
    return TypingTold(given.sender, given.recipient, model.ChatState[given.state.name])


def _lowered_notice(given: Notice) -> Any:
    if isinstance(given, PresenceShown):
        shown = native.Presence(
            state=_convert.lowered(given.presence.state),
            note=given.presence.note,
            avatar=given.presence.avatar,
            extensions=given.presence.extensions,
        )
        return native.Notice.PRESENCE_SHOWN(subject=given.subject, watcher=given.watcher, presence=shown)
    if isinstance(given, PresenceAsked):
        return native.Notice.PRESENCE_ASKED(watcher=given.watcher, subject=given.subject)
    if isinstance(given, TypingTold):
        state = _convert.lowered(given.state)
        return native.Notice.TYPING_TOLD(sender=given.sender, recipient=given.recipient, state=state)
    raise InvalidArgument(f"{given!r} is no notice")
