"""Commands as values: `Engine.submit` takes them by the thousand, and their answers come by ticket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from . import _convert, model
from ._native import native
from .errors import RosterKitError
from .session import Session


@dataclass(frozen=True)
class Command:
    """Something to do for an account, and for the session of it that speaks. Made by the functions of this module."""

    account: str
    session_id: Optional[int]
    _what: Any

    def lowered(self) -> Any:
        """As the library has it."""
        return native.SubmittedCommand(account=self.account, session_id=self.session_id, command=self._what)


@dataclass(frozen=True)
class Answered:
    """The answer to a submitted command: a value, `None` when it is only done, or the error that refused it."""

    ticket: int
    result: Any

    @classmethod
    def of(cls, given: Any) -> Answered:
        """From the library's."""
        return cls(given.ticket, _convert.answer(given.answer))

    def value(self) -> Any:
        """The value; raises what refused the command."""
        if isinstance(self.result, RosterKitError):
            raise self.result
        return self.result


#: Who speaks: a session, or an account by its address.
Actor = Union[Session, str]


def _of(actor: Actor, what: Any) -> Command:
    if isinstance(actor, Session):
        return Command(actor.account, actor.id, what)
    return Command(actor, None, what)


def create_account(address: str) -> Command:
    """Answered by nothing."""
    return _of(address, native.Command.CREATE_ACCOUNT())


def delete_account(address: str) -> Command:
    """Answered by nothing."""
    return _of(address, native.Command.DELETE_ACCOUNT())


def send(
    actor: Actor,
    recipient: str,
    body: Union[str, model.Data],
    *,
    client_id: Optional[str] = None,
    extensions: bytes = b"",
    reply_to: Optional[str] = None,
    expires_ms: Optional[int] = None,
) -> Command:
    """Answered by a `Receipt`."""
    options = _convert.send_options(client_id, extensions, reply_to, expires_ms)
    return _of(actor, send_command(recipient, body, options))


def send_command(recipient: str, body: Union[str, model.Data], options: Any) -> Any:
    """A send as the library has it."""
    if isinstance(body, str):
        return native.Command.SEND_TEXT(recipient=recipient, text=body, options=options)
    return native.Command.SEND_DATA(
        recipient=recipient, media_type=body.media_type, bytes=body.content, options=options
    )


def edit_message(
    actor: Actor, recipient: str, message_id: str, text: str, *, client_id: Optional[str] = None
) -> Command:
    """Answered by a `Receipt`."""
    edit = native.Command.EDIT_MESSAGE(
        recipient=recipient, message_id=message_id, text=text, client_id=client_id
    )
    return _of(actor, edit)


def retract_message(
    actor: Actor, recipient: str, message_id: str, *, client_id: Optional[str] = None
) -> Command:
    """Answered by a `Receipt`."""
    retract = native.Command.RETRACT_MESSAGE(recipient=recipient, message_id=message_id, client_id=client_id)
    return _of(actor, retract)


def mark_read(actor: Actor, peer: str, upto: int) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.MARK_READ(peer=peer, upto=upto))


def read_conversations(actor: Actor, before: Optional[int] = None, *, limit: int = 50) -> Command:
    """Answered by a `ConversationsPage`."""
    return _of(actor, native.Command.READ_CONVERSATIONS(before=before, limit=limit))


def add_buddy(
    actor: Actor,
    peer: str,
    *,
    name: Optional[str] = None,
    groups: Optional[Sequence[str]] = None,
    note: str = "",
) -> Command:
    """Asks or confirms. Answered by nothing."""
    in_groups = None if groups is None else list(groups)
    return _of(actor, native.Command.ADD_BUDDY(peer=peer, name=name, groups=in_groups, note=note))


def remove_buddy(actor: Actor, peer: str) -> Command:
    """Removes or declines. Answered by nothing."""
    return _of(actor, native.Command.REMOVE_BUDDY(peer=peer))


def update_buddy(
    actor: Actor, peer: str, *, name: Optional[str] = None, groups: Optional[Sequence[str]] = None
) -> Command:
    """Answered by nothing."""
    in_groups = None if groups is None else list(groups)
    return _of(actor, native.Command.UPDATE_BUDDY(peer=peer, name=name, groups=in_groups))


def invite(actor: Actor, expires_ms: int) -> Command:
    """Answered by the token, a `str`."""
    return _of(actor, native.Command.INVITE(expires_ms=expires_ms))


def redeem_invitation(actor: Actor, peer: str, token: str) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.REDEEM_INVITATION(peer=peer, token=token))


def revoke_invitations(actor: Actor, token: Optional[str] = None) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.REVOKE_INVITATIONS(token=token))


def block(actor: Actor, peer: str, blocked: bool = True) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.BLOCK(peer=peer, blocked=blocked))


def search_history(
    actor: Actor, text: str, peer: Optional[str] = None, *, before: Optional[int] = None, limit: int = 50
) -> Command:
    """Answered by a `SearchPage`."""
    return _of(actor, native.Command.SEARCH_HISTORY(text=text, peer=peer, before=before, limit=limit))


def forget_history(actor: Actor, peer: Optional[str] = None) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.FORGET_HISTORY(peer=peer))


def read_quarantined(actor: Actor, after: int = 0, *, limit: int = 50) -> Command:
    """Answered by a `HistoryPage`."""
    return _of(actor, native.Command.READ_QUARANTINED(after=after, limit=limit))


def admit_sender(actor: Actor, sender: str) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.ADMIT_SENDER(sender=sender))


def refuse_sender(actor: Actor, sender: str, *, block: bool = False) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.REFUSE_SENDER(sender=sender, block=block))


def set_presence(
    session: Session,
    state: Union[model.PresenceState, str],
    *,
    note: Optional[str] = None,
    priority: int = 0,
    until_ms: Optional[int] = None,
    invisible: bool = False,
    layer: Union[model.PresenceLayer, str] = model.PresenceLayer.MANUAL,
    extensions: bytes = b"",
) -> Command:
    """Answered by nothing."""
    presence = _convert.presence_update(state, note, priority, until_ms, invisible, layer, extensions)
    return _of(session, native.Command.SET_PRESENCE(presence=presence))


def clear_presence(
    session: Session, layer: Union[model.PresenceLayer, str] = model.PresenceLayer.MANUAL
) -> Command:
    """Answered by nothing."""
    lowered = _convert.lowered(_convert.choice(model.PresenceLayer, layer))
    return _of(session, native.Command.CLEAR_PRESENCE(layer=lowered))


def direct_presence(
    session: Session,
    recipient: str,
    state: Union[model.PresenceState, str, None],
    *,
    note: Optional[str] = None,
    extensions: bytes = b"",
) -> Command:
    """Answered by nothing."""
    presence = _convert.directed(state, note, extensions)
    return _of(session, native.Command.DIRECT_PRESENCE(recipient=recipient, presence=presence))


def set_visibility(actor: Actor, viewer: str, visibility: Union[model.Visibility, str]) -> Command:
    """Answered by nothing."""
    lowered = _convert.lowered(_convert.choice(model.Visibility, visibility))
    return _of(actor, native.Command.SET_VISIBILITY(viewer=viewer, visibility=lowered))


def read_last_seen(actor: Actor, buddy: str) -> Command:
    """Answered by a `LastSeen`, or `None`."""
    return _of(actor, native.Command.READ_LAST_SEEN(buddy=buddy))


def query(session: Session, recipient: str, body: Union[str, model.Data]) -> Command:
    """Answered by the number that the answer comes under."""
    return _of(session, native.Command.QUERY(recipient=recipient, body=_convert.lowered_body(body)))


def answer_query(session: Session, query: int, body: Union[str, model.Data, None] = None) -> Command:
    """Answered by nothing."""
    lowered = None if body is None else _convert.lowered_body(body)
    return _of(session, native.Command.ANSWER_QUERY(query=query, body=lowered))


def typing(
    session: Session, recipient: str, state: Union[model.ChatState, str] = model.ChatState.COMPOSING
) -> Command:
    """Answered by nothing."""
    lowered = _convert.lowered(_convert.choice(model.ChatState, state))
    return _of(session, native.Command.TELL_TYPING(recipient=recipient, state=lowered))


def read_presence(actor: Actor, buddy: str) -> Command:
    """Answered by a `Presence`."""
    return _of(actor, native.Command.READ_PRESENCE(buddy=buddy))


def read_history(
    actor: Actor,
    peer: Optional[str] = None,
    *,
    beside: Optional[int] = None,
    at_time_ms: Optional[int] = None,
    newer: bool = False,
    limit: int = 50,
) -> Command:
    """Answered by a `HistoryPage`."""
    request = _convert.history_request(peer, beside, at_time_ms, newer, limit)
    return _of(actor, native.Command.READ_HISTORY(request=request))


def read_roster(actor: Actor, since: Optional[int] = None) -> Command:
    """Answered by a `Roster`."""
    return _of(actor, native.Command.READ_ROSTER(since=since))


def set_rules(actor: Actor, rules: str) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.SET_RULES(json=rules))


def read_rules(actor: Actor) -> Command:
    """Answered by a JSON document."""
    return _of(actor, native.Command.READ_RULES())


def explain_rules(actor: Actor, sender: str, text: str) -> Command:
    """Answered by a JSON list."""
    return _of(actor, native.Command.EXPLAIN_RULES(sender=sender, text=text))


def explain_presence(actor: Actor, viewer: str) -> Command:
    """Answered by a JSON object."""
    return _of(actor, native.Command.EXPLAIN_PRESENCE(viewer=viewer))


def explain_admission(actor: Actor, sender: str) -> Command:
    """Answered by a JSON object."""
    return _of(actor, native.Command.EXPLAIN_ADMISSION(sender=sender))


def explain_delivery(actor: Actor, position: int) -> Command:
    """Answered by a JSON object."""
    return _of(actor, native.Command.EXPLAIN_DELIVERY(position=position))


def add_registration(actor: Actor, registration: model.Registration) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.ADD_REGISTRATION(registration=_convert.lowered_registration(registration)))


def remove_registration(actor: Actor, name: str) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.REMOVE_REGISTRATION(name=name))


def read_registrations(actor: Actor) -> Command:
    """Answered by a list of `Registration`s."""
    return _of(actor, native.Command.READ_REGISTRATIONS())


def claim(actor: Actor, positions: Sequence[int]) -> Command:
    """The host has delivered these messages to a contact: they are claimed. Answered by nothing."""
    return _of(actor, native.Command.CLAIM(positions=list(positions)))


def list_files(actor: Actor, prefix: str = "") -> Command:
    """Answered by a list of `FileInfo`s."""
    return _of(actor, native.Command.LIST_FILES(prefix=prefix))


def read_file(actor: Actor, path: str, owner: Optional[str] = None) -> Command:
    """Answered by bytes."""
    return _of(actor, native.Command.READ_FILE(path=path, owner=owner))


def write_file(actor: Actor, path: str, content: bytes) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.WRITE_FILE(path=path, bytes=content))


def remove_file(actor: Actor, path: str) -> Command:
    """Answered by nothing."""
    return _of(actor, native.Command.REMOVE_FILE(path=path))
