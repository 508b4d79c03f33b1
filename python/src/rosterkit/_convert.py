"""From the library's values to this package's, and back."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Any, Callable, Optional, TypeVar, Union

from . import model
from ._native import native
from .errors import InvalidArgument

D = TypeVar("D")
E = TypeVar("E", bound=enum.Enum)


def choice(kind: type[E], given: Union[E, str]) -> E:
    """A case of an enum, by itself or by its text."""
    try:
        return kind(given)
    except ValueError:
        among = ", ".join(str(case.value) for case in kind)
        raise InvalidArgument(f"{given!r} is none of {among}") from None


def lowered(case: Optional[enum.Enum]) -> Any:
    """The library's case of the same name."""
    return None if case is None else getattr(native, _NATIVE_NAMES[type(case)])[case.name]


_NATIVE_NAMES: dict[type[enum.Enum], str] = {
    model.PresenceLayer: "PresenceLayer",
    model.PresenceState: "PresenceState",
    model.ChatState: "ChatState",
    model.Activity: "Activity",
    model.AcceptedSenders: "AcceptedSenders",
    model.Receipts: "Receipts",
    model.Visibility: "Visibility",
    model.LastSeenPrecision: "LastSeenPrecision",
    model.RegistrationKind: "RegistrationKind",
}


def millis(seconds: Optional[float]) -> Optional[int]:
    """Seconds as Python has them, in milliseconds."""
    if seconds is None:
        return None
    if not math.isfinite(seconds):
        raise InvalidArgument(f"{seconds} is no time to wait")
    return round(seconds * 1000)


def receipt(given: Any) -> model.Receipt:
    return model.Receipt(given.message_id, given.position, model.Outcome[given.outcome.name], given.time_ms)


def presence(given: Any) -> model.Presence:
    return model.Presence(model.PresenceState[given.state.name], given.note, given.avatar, given.extensions)


def last_seen(given: Any) -> Optional[model.LastSeen]:
    if given is None:
        return None
    return model.LastSeen(model.LastSeenWhen[case_name(given)], given.time_ms if given.is_AT() else None)


def buddy(given: Any) -> model.Buddy:
    return model.Buddy(
        given.address,
        given.name,
        tuple(given.groups),
        model.BuddyStatus[given.status.name],
        given.sees_them,
        given.sees_me,
        given.is_listed,
    )


def roster(given: Any) -> model.Roster:
    return model.Roster(tuple(buddy(b) for b in given.buddies), given.version)


def _made(kind: type[D], **fields: Any) -> D:
    """A value of an immutable class, whose own way to make one sets each field by a call: messages are many."""
    made = object.__new__(kind)
    made.__dict__.update(fields)
    return made


def message(given: Any) -> model.Message:
    amended = given.amended
    return _made(
        model.Message,
        position=given.position,
        id=given.id,
        sender=given.sender,
        recipient=given.recipient,
        time_ms=given.time_ms,
        is_copy=given.is_copy,
        body=body(given.body),
        extensions=given.extensions,
        outcome=None if given.outcome is None else outcome(given.outcome),
        reply_to=given.reply_to,
        amended=None if amended is None else model.Amended(amended.time_ms, amended.is_retracted),
        expires_ms=given.expires_ms,
        receipt=None if given.receipt is None else model.ReceiptState[given.receipt.name],
    )


def body(given: Any) -> Union[str, model.Data]:
    return given.text if given.is_TEXT() else model.Data(given.media_type, given.bytes)


def lowered_body(given: Union[str, model.Data]) -> Any:
    if isinstance(given, str):
        return native.MessageBody.TEXT(text=given)
    return native.MessageBody.DATA(media_type=given.media_type, bytes=given.content)


def outcome(given: Any) -> model.FinalOutcome:
    if given.is_RELAYED():
        return model.Relayed()
    return model.Expired() if given.is_EXPIRED() else model.Failed(given.reason)


def conversations(given: Any) -> model.ConversationsPage:
    return model.ConversationsPage(tuple(conversation(c) for c in given.conversations), given.complete)


def conversation(given: Any) -> model.Conversation:
    marks = given.marks
    return model.Conversation(
        given.peer,
        given.position,
        message(given.latest),
        given.unread,
        marks.read,
        marks.delivered,
        marks.displayed,
    )


def _amended(seq: int, given: Any) -> model.MessageAmended:
    return model.MessageAmended(
        seq,
        given.position,
        given.message_position,
        given.message_id,
        given.sender,
        given.recipient,
        given.time_ms,
        given.is_copy,
        body(given.change.body) if given.change.is_EDITED() else None,
    )


def search_page(given: Any) -> model.SearchPage:
    return model.SearchPage(tuple(message(m) for m in given.messages), given.searched)


def page(given: Any) -> model.HistoryPage:
    return model.HistoryPage(tuple(message(m) for m in given.messages), given.complete)


def preferences(given: Any) -> model.Preferences:
    return model.Preferences(
        model.AcceptedSenders[given.accepted_senders.name],
        given.offline_storage,
        given.keep_history,
        given.deliver_to_devices,
        given.max_roster_items,
        model.Receipts[given.receipts.name],
        given.storage_files,
        given.storage_bytes,
        given.utc_offset_minutes,
        model.LastSeenPrecision[given.last_seen.name],
        given.history_days,
        given.history_messages,
    )


def overrides(given: Any) -> model.PreferenceOverrides:
    senders = given.accepted_senders
    return model.PreferenceOverrides(
        None if senders is None else model.AcceptedSenders[senders.name],
        given.offline_storage,
        given.keep_history,
        given.deliver_to_devices,
        given.max_roster_items,
        None if given.receipts is None else model.Receipts[given.receipts.name],
        given.storage_files,
        given.storage_bytes,
        given.utc_offset_minutes,
        None if given.last_seen is None else model.LastSeenPrecision[given.last_seen.name],
        given.history_days,
        given.history_messages,
    )


def lowered_overrides(given: model.PreferenceOverrides) -> Any:
    senders = given.accepted_senders
    return native.PreferenceOverrides(
        accepted_senders=None if senders is None else lowered(choice(model.AcceptedSenders, senders)),
        offline_storage=given.offline_storage,
        keep_history=given.keep_history,
        deliver_to_devices=given.deliver_to_devices,
        max_roster_items=given.max_roster_items,
        receipts=None if given.receipts is None else lowered(choice(model.Receipts, given.receipts)),
        storage_files=given.storage_files,
        storage_bytes=given.storage_bytes,
        utc_offset_minutes=given.utc_offset_minutes,
        last_seen=None if given.last_seen is None else lowered(choice(model.LastSeenPrecision, given.last_seen)),
        history_days=given.history_days,
        history_messages=given.history_messages,
    )


def presence_update(
    state: Union[model.PresenceState, str],
    note: Optional[str],
    priority: int,
    until_ms: Optional[int],
    invisible: bool,
    layer: Union[model.PresenceLayer, str],
    extensions: bytes = b"",
) -> Any:
    return native.PresenceUpdate(
        state=lowered(choice(model.PresenceState, state)),
        note=note,
        priority=priority,
        until_ms=until_ms,
        invisible=invisible,
        layer=lowered(choice(model.PresenceLayer, layer)),
        extensions=extensions or None,
    )


def directed(
    state: Union[model.PresenceState, str, None], note: Optional[str], extensions: bytes
) -> Any:
    """Presence for one address; without a state it is taken back."""
    if state is None:
        if note is not None or extensions:
            raise InvalidArgument("what is taken back has no note and no extensions")
        return None
    return presence_update(state, note, 0, None, False, model.PresenceLayer.MANUAL, extensions)


def history_request(
    peer: Optional[str], beside: Optional[int], at_time_ms: Optional[int], newer: bool, limit: int
) -> Any:
    return native.HistoryRequest(
        peer=peer, beside_position=beside, at_time_ms=at_time_ms, newer=newer, limit=limit
    )


def send_options(
    client_id: Optional[str],
    extensions: bytes = b"",
    reply_to: Optional[str] = None,
    expires_ms: Optional[int] = None,
) -> Any:
    return native.SendOptions(
        client_id=client_id, extensions=extensions or None, reply_to=reply_to, expires_ms=expires_ms
    )


def _word(given: Any) -> str:
    # A reason is a case, or a name that this version has no case for.
    return str(given.name) if given.is_OTHER() else case_name(given).lower().replace("_", "-")


def case_name(given: Any) -> str:
    """What a case with fields is called: the generated classes have no better way to say so."""
    return type(given).__name__.rsplit(".", 1)[-1]


_EVENTS: dict[str, Callable[[int, Any], model.Event]] = {
    "MESSAGE_RECEIVED": lambda seq, b: _made(model.MessageReceived, seq=seq, message=message(b.message)),
    "BUDDY_REQUESTED": lambda seq, b: model.BuddyRequested(seq, b.position, b.sender, b.note, b.time_ms),
    "OUTCOME_TOLD": lambda seq, b: model.OutcomeTold(seq, b.position, b.message_id, b.recipient, outcome(b.outcome)),
    "MESSAGE_AMENDED": _amended,
    "MESSAGES_DELIVERED": lambda seq, b: model.MessagesDelivered(seq, b.peer, b.upto),
    "MESSAGES_DISPLAYED": lambda seq, b: model.MessagesDisplayed(seq, b.peer, b.upto),
    "MESSAGES_READ": lambda seq, b: model.MessagesRead(seq, b.peer, b.upto),
    "PRESENCE_CHANGED": lambda seq, b: model.PresenceChanged(seq, b.subject, presence(b.presence)),
    "SNAPSHOT_ENDED": lambda seq, b: model.SnapshotEnded(seq),
    "ROSTER_CHANGED": lambda seq, b: model.RosterChanged(seq, buddy(b.buddy)),
    "TYPING_CHANGED": lambda seq, b: model.TypingChanged(seq, b.sender, model.ChatState[b.state.name]),
    "MESSAGE_PARKED": lambda seq, b: model.MessageParked(seq, b.message_id),
    "QUARANTINE_CHANGED": lambda seq, b: model.QuarantineChanged(seq, b.messages),
    "CONVERSATION_CHANGED": lambda seq, b: model.ConversationChanged(seq, conversation(b.conversation)),
    "BLOCK_LIST_CHANGED": lambda seq, b: model.BlockListChanged(seq),
    "PREFERENCES_CHANGED": lambda seq, b: model.PreferencesChanged(seq),
    "HISTORY_FORGOTTEN": lambda seq, b: model.HistoryForgotten(seq, b.peer, b.upto),
    "QUERY_ASKED": lambda seq, b: model.QueryAsked(seq, b.query, b.sender, body(b.body)),
    "QUERY_ANSWERED": lambda seq, b: model.QueryAnswered(seq, b.query, None if b.body is None else body(b.body)),
    "RESYNC_NEEDED": lambda seq, b: model.ResyncNeeded(seq),
    "SESSION_ENDED": lambda seq, b: model.SessionEnded(seq, _word(b.reason)),
    "OTHER": lambda seq, b: model.OtherEvent(seq, b.kind, b.json),
}


_BY_CASE = {getattr(native.EventBody, name): make for name, make in _EVENTS.items()}


def event(given: Any) -> model.Event:
    """An event. One that this package has no class for is an `OtherEvent`, never a failure."""
    body = given.body
    make = _BY_CASE.get(type(body))
    return model.OtherEvent(given.seq, case_name(body), "{}") if make is None else make(given.seq, body)


def events(given: Iterable[Any]) -> list[model.Event]:
    """A batch of them."""
    return [event(one) for one in given]


def files(given: Iterable[Any]) -> list[model.FileInfo]:
    return [model.FileInfo(file.path, file.size, file.modified_ms) for file in given]


def registration(given: Any) -> model.Registration:
    kind = model.RegistrationKind[given.kind.name]
    return model.Registration(given.name, kind, given.contact, given.expires_ms)


def lowered_registration(given: model.Registration) -> Any:
    return native.Registration(
        name=given.name,
        kind=lowered(choice(model.RegistrationKind, given.kind)),
        contact=given.contact,
        expires_ms=given.expires_ms,
    )


_HOST_EVENTS: dict[str, Callable[[Any], model.HostEvent]] = {
    "OPEN_URL": lambda e: model.OpenUrl(e.account, e.rule, e.url, e.message_id),
    "RULE_PUSH": lambda e: model.RulePush(e.account, e.rule, e.text, e.message_id),
    "DELIVER": lambda e: model.Deliver(e.account, e.registration, e.contact, message(e.message)),
    "PUSH": lambda e: model.Push(
        e.account,
        e.registration,
        e.contact,
        _word(e.reason),
        e.sender,
        e.message_id,
        e.position,
        e.badge,
        e.expires_ms,
    ),
    "MISSED": lambda e: model.Missed(e.count),
    "OTHER": lambda e: model.OtherHostEvent(e.kind),
}


def host_event(given: Any) -> model.HostEvent:
    name = case_name(given)
    return _HOST_EVENTS[name](given) if name in _HOST_EVENTS else model.OtherHostEvent(name)


def import_summary(given: Any) -> model.ImportSummary:
    return model.ImportSummary(given.accounts, given.buddies, given.messages)


def answer(given: Any) -> Any:
    """What a submitted command was answered with: a value, `None` when there is none, or an error."""
    name = case_name(given)
    if name == "FAILED":
        from .errors import translated

        return translated(given.error)
    return _ANSWERS[name](given) if name in _ANSWERS else None


_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "SENT": lambda a: receipt(a.receipt),
    "ROSTER_READ": lambda a: roster(a.roster),
    "PRESENCE_READ": lambda a: presence(a.presence),
    "HISTORY_READ": lambda a: page(a.page),
    "CONVERSATIONS_READ": lambda a: conversations(a.page),
    "HISTORY_SEARCHED": lambda a: search_page(a.page),
    "FILES_READ": lambda a: files(a.files),
    "FILE_READ": lambda a: a.bytes,
    "JSON_READ": lambda a: a.json,
    "REGISTRATIONS_READ": lambda a: [registration(one) for one in a.registrations],
    "LAST_SEEN_READ": lambda a: last_seen(a.seen),
    "QUERIED": lambda a: a.query,
    "INVITED": lambda a: a.token,
    "BLOCKED_READ": lambda a: list(a.addresses),
    "PREFERENCES_READ": lambda a: preferences(a.preferences),
    "DEVICES_READ": lambda a: list(a.devices),
}
