"""Sessions."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable, Optional, Union

from . import _convert, model
from ._listening import AnyListener, hears, log_failure
from ._native import Owner, native
from ._waiting import Interrupts, in_slices
from .errors import Closed, Misuse, RosterKitError

#: After so many failures in a row a listener is called no more.
MAX_FAILURES = 100


class Session(Owner):
    """One connected client of an account.

    It ends by `close`, at the end of a `with`, when nothing refers to it any more, or as a `SessionEnded` event says.
    """

    #: As many as one look brings. What waits here does not learn of newer presence.
    AT_ONCE = 32

    def __init__(self, handle: Any, account: str, is_virtual: bool) -> None:
        super().__init__()
        self._handle = handle
        self._is_virtual = is_virtual
        self._in_hand: deque[model.Event] = deque()
        self._reader: Optional[object] = None
        self._looking = threading.Lock()
        self._inside: Callable[[], Optional[_Inside]] = _nobody
        self._waits = Interrupts()
        #: The account's address.
        self.account = account
        #: The session's number in this run of the engine.
        self.id: int = self._call(handle.session_id)
        #: The session's full address.
        self.address: str = self._call(handle.address)

    def __repr__(self) -> str:
        return f"<rosterkit.Session {self.address}>"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- messages ----

    def send(
        self,
        recipient: str,
        body: Union[str, model.Data],
        *,
        client_id: Optional[str] = None,
        extensions: bytes = b"",
        reply_to: Optional[str] = None,
        expires_ms: Optional[int] = None,
    ) -> model.Receipt:
        """Sends a text, or data. Returns when it is on disk, and raises what refuses it.

        Repeating a send with the same `client_id` sends nothing twice. `reply_to` is the id of the message that this one
        answers. Who has not taken it at `expires_ms` (Unix milliseconds) does not get it any more.
        """
        options = _convert.send_options(client_id, extensions, reply_to, expires_ms)
        if isinstance(body, str):
            given = self._call(self._handle.send, recipient, body, options)
        else:
            given = self._call(self._handle.send_data, recipient, body.media_type, body.content, options)
        return _convert.receipt(given)

    def edit_message(
        self, recipient: str, message_id: str, text: str, *, client_id: Optional[str] = None
    ) -> model.Receipt:
        """Changes what a message says that the account sent to this peer, one of the latest 1,000 between them.

        It comes to everybody who has the message. Returns when it is on disk.
        """
        given = self._call(self._handle.edit_message, recipient, message_id, text, client_id)
        return _convert.receipt(given)

    def retract_message(
        self, recipient: str, message_id: str, *, client_id: Optional[str] = None
    ) -> model.Receipt:
        """Takes back a message that the account sent to this peer: its content is gone everywhere."""
        return _convert.receipt(self._call(self._handle.retract_message, recipient, message_id, client_id))

    def mark_read(self, peer: str, upto: int) -> None:
        """The account's people have read what this peer sent, up to that position. Returns when it is on disk."""
        self._call(self._handle.mark_read, peer, upto)

    def conversations(self, before: Optional[int] = None, *, limit: int = 50) -> model.ConversationsPage:
        """A page of the account's conversations, the latest first: those behind the one at this position."""
        return _convert.conversations(self._call(self._handle.conversations, before, limit))

    def typing(self, recipient: str, state: Union[model.ChatState, str] = model.ChatState.COMPOSING) -> None:
        """Tells somebody what the person does in the conversation. Goes to sessions that are there now."""
        self._call(self._handle.tell_typing, recipient, _convert.lowered(_convert.choice(model.ChatState, state)))

    def history(
        self,
        peer: Optional[str] = None,
        *,
        beside: Optional[int] = None,
        at_time_ms: Optional[int] = None,
        newer: bool = False,
        limit: int = 50,
    ) -> model.HistoryPage:
        """Reads a page of history: the newest, or next to a message's position, or at a time."""
        request = _convert.history_request(peer, beside, at_time_ms, newer, limit)
        return _convert.page(self._call(self._handle.history, request))

    def search_history(
        self, text: str, peer: Optional[str] = None, *, before: Optional[int] = None, limit: int = 50
    ) -> model.SearchPage:
        """Looks through the history for a text, upper and lower case alike, the newest messages first.

        A call looks at no more than 10,000 messages: while the answer has a `searched`, the next page is `before` it.
        """
        return _convert.search_page(self._call(self._handle.search_history, text, peer, before, limit))

    def forget_history(self, peer: Optional[str] = None) -> None:
        """Forgets what the account has with a peer, or everything, messages that wait too; the other side keeps its own."""
        self._call(self._handle.forget_history, peer)

    # ---- roster ----

    def add_buddy(
        self, peer: str, *, name: Optional[str] = None, groups: Optional[Sequence[str]] = None, note: str = ""
    ) -> None:
        """Asks somebody to be a buddy, both ways; confirms who asked already. What is left out stays as it is."""
        self._call(self._handle.add_buddy, peer, name, None if groups is None else list(groups), note)

    def confirm_buddy(self, peer: str) -> None:
        """Confirms who asked."""
        self._call(self._handle.confirm_buddy, peer)

    def decline_buddy(self, peer: str) -> None:
        """Declines who asked: both directions end."""
        self._call(self._handle.decline_buddy, peer)

    def remove_buddy(self, peer: str) -> None:
        """Removes a buddy: both directions end."""
        self._call(self._handle.remove_buddy, peer)

    def update_buddy(
        self, peer: str, *, name: Optional[str] = None, groups: Optional[Sequence[str]] = None
    ) -> None:
        """Changes a buddy's name or groups; they are not told. What is left out stays as it is."""
        self._call(self._handle.update_buddy, peer, name, None if groups is None else list(groups))

    def invite(self, expires_ms: int) -> str:
        """Makes an invitation for one person, until then (Unix milliseconds, within a year): who redeems it becomes a
        buddy, confirmed on both sides, without this account being asked. The token is a secret; at most 64 are open.
        """
        token: str = self._call(self._handle.invite, expires_ms)
        return token

    def redeem_invitation(self, peer: str, token: str) -> None:
        """Adds who gave this invitation. Both are confirmed, whatever fails on the way; when it is used up, has expired
        or never was, it is a request as any other."""
        self._call(self._handle.redeem_invitation, peer, token)

    def revoke_invitations(self, token: Optional[str] = None) -> None:
        """Takes an invitation back, or all of them."""
        self._call(self._handle.revoke_invitations, token)

    def roster(self, since: Optional[int] = None) -> model.Roster:
        """The roster; or what changed in it since a version."""
        return _convert.roster(self._call(self._handle.roster, since))

    def block(self, peer: str, blocked: bool = True) -> None:
        """Blocks an address or a domain, or lifts the block."""
        self._call(self._handle.block, peer, blocked)

    def blocked(self) -> list[str]:
        """Who is blocked: addresses and domains."""
        return list(self._call(self._handle.blocked))

    def quarantined(self, after: int = 0, *, limit: int = 50) -> model.HistoryPage:
        """What waits in quarantine, oldest first, behind this position. Nobody learns that it was read."""
        return _convert.page(self._call(self._handle.quarantined, after, limit))

    def admit_sender(self, sender: str) -> None:
        """Takes a sender out of quarantine for good: what waits from them is delivered, in order, to every device."""
        self._call(self._handle.admit_sender, sender)

    def refuse_sender(self, sender: str, *, block: bool = False) -> None:
        """Drops what waits from a sender. They are not told; what they send next waits again, unless they are blocked."""
        self._call(self._handle.refuse_sender, sender, block)

    # ---- presence ----

    def set_presence(
        self,
        state: Union[model.PresenceState, str],
        *,
        note: Optional[str] = None,
        priority: int = 0,
        until_ms: Optional[int] = None,
        invisible: bool = False,
        layer: Union[model.PresenceLayer, str] = model.PresenceLayer.MANUAL,
        extensions: bytes = b"",
    ) -> None:
        """Shows a presence. The first one brings a snapshot of the buddies' presence, then their changes.

        What a program sets of its own accord (`layer="automatic"`: idle, in a call) shows only where the person has set
        nothing.
        """
        update = _convert.presence_update(state, note, priority, until_ms, invisible, layer, extensions)
        self._call(self._handle.set_presence, update)

    def clear_presence(self, layer: Union[model.PresenceLayer, str] = model.PresenceLayer.MANUAL) -> None:
        """What a person, or a program, set does not count any more; when there is nothing left the session is offline."""
        self._call(self._handle.clear_presence, _convert.lowered(_convert.choice(model.PresenceLayer, layer)))

    def go_offline(self) -> None:
        """Shows nothing and sees nothing any more; messages still come."""
        self._call(self._handle.go_offline)

    def presence(self, buddy: str) -> model.Presence:
        """What a buddy shows, or the account itself."""
        return _convert.presence(self._call(self._handle.presence, buddy))

    def direct_presence(
        self,
        recipient: str,
        state: Union[model.PresenceState, str, None],
        *,
        note: Optional[str] = None,
        extensions: bytes = b"",
    ) -> None:
        """Shows this session's presence to an address of its own, whoever sees it otherwise, until the session is
        offline; without a state that is taken back. At most 256 addresses a session."""
        self._call(self._handle.direct_presence, recipient, _convert.directed(state, note, extensions))

    def set_visibility(self, viewer: str, visibility: Union[model.Visibility, str]) -> None:
        """Sets how much a buddy sees of the account's presence."""
        lowered = _convert.lowered(_convert.choice(model.Visibility, visibility))
        self._call(self._handle.set_visibility, viewer, lowered)

    def last_seen(self, buddy: str) -> Optional[model.LastSeen]:
        """When a buddy was last there, as precisely as they say; `None` when nothing is known of it, or to be known."""
        return _convert.last_seen(self._call(self._handle.last_seen, buddy))

    def query(self, recipient: str, body: Union[str, model.Data]) -> int:
        """Asks another session, `user@domain/instance`. Its answer comes as a `QueryAnswered` with this number: within
        30 s, or at once and empty when nobody is there for who asks."""
        number: int = self._call(self._handle.query, recipient, _convert.lowered_body(body))
        return number

    def answer_query(self, query: int, body: Union[str, model.Data, None] = None) -> None:
        """Answers a query that came to this session; without a body there is no answer."""
        self._call(self._handle.answer_query, query, None if body is None else _convert.lowered_body(body))

    def set_activity(self, activity: Union[model.Activity, str]) -> None:
        """What the person does with the app."""
        self._call(self._handle.set_activity, _convert.lowered(_convert.choice(model.Activity, activity)))

    def touch(self) -> None:
        """A sign of life, for sessions with a lease."""
        self._call(self._handle.touch)

    # ---- the account ----

    def preferences(self) -> model.Preferences:
        """What is in force for the account."""
        return _convert.preferences(self._call(self._handle.preferences))

    def set_preferences(self, overrides: model.PreferenceOverrides) -> None:
        """Replaces what the account set for itself."""
        self._call(self._handle.set_preferences, _convert.lowered_overrides(overrides))

    def devices(self) -> list[str]:
        """The account's named devices."""
        return list(self._call(self._handle.devices))

    def retire_device(self, device: str) -> None:
        """Forgets a named device."""
        self._call(self._handle.retire_device, device)

    def set_rules(self, rules: str) -> None:
        """Replaces the account's rules by those of this JSON document (`docs/rules.md`)."""
        self._call(self._handle.set_rules, rules)

    def rules(self) -> str:
        """The account's own rules, as JSON."""
        return str(self._call(self._handle.rules))

    def explain_rules(self, sender: str, text: str) -> str:
        """What the rules in force would do with a text from this sender now, and why, as JSON. Nothing is done."""
        return str(self._call(self._handle.explain_rules, sender, text))

    def explain_presence(self, viewer: str) -> str:
        """Why a viewer sees of the account what they see, as JSON: whether they may, and what each session shows."""
        return str(self._call(self._handle.explain_presence, viewer))

    def explain_admission(self, sender: str) -> str:
        """Whether the account would take a message of this sender now, as JSON: the facts, up to the one that decided."""
        return str(self._call(self._handle.explain_admission, sender))

    def explain_delivery(self, position: int) -> str:
        """What became of the message at this position, as JSON.

        Of one that came in: what rules did with it, where it waits, which devices have it. Of one's own what a sender may
        learn.
        """
        return str(self._call(self._handle.explain_delivery, position))

    def add_registration(self, registration: model.Registration) -> None:
        """Registers a contact that is no session, until it expires; it replaces one of the same name."""
        self._call(self._handle.add_registration, _convert.lowered_registration(registration))

    def remove_registration(self, name: str) -> None:
        """Takes a registration away."""
        self._call(self._handle.remove_registration, name)

    def registrations(self) -> list[model.Registration]:
        """The account's registrations that have not expired."""
        return [_convert.registration(one) for one in self._call(self._handle.registrations)]

    # ---- files ----

    def files(self, prefix: str = "") -> list[model.FileInfo]:
        """The account's files whose paths begin so, in order."""
        return _convert.files(self._call(self._handle.files, prefix))

    def read_file(self, path: str, owner: Optional[str] = None) -> bytes:
        """Reads a file of the account's, or one of another's: what is under `public/`, and `profile.vcf`."""
        return bytes(self._call(self._handle.read_file, path, owner))

    def write_file(self, path: str, content: bytes) -> None:
        """Writes a file, at most 4 MiB, in place of what was there. Returns when it is on disk.

        `profile.vcf` must be a vCard; its image is the account's avatar.
        """
        self._call(self._handle.write_file, path, content)

    def remove_file(self, path: str) -> None:
        """Removes a file."""
        self._call(self._handle.remove_file, path)

    # ---- events ----

    def events(self, timeout: Optional[float] = None) -> Iterator[model.Event]:
        """The session's events: asking for the next one acknowledges the one before.

        Ends when none came for `timeout` seconds, and after the last event of a session that has ended. An element that
        was not finished, because the loop was left, is the first that the next call gives.
        """
        return _Stream(self, timeout)

    def next_events(self, max_events: int = 64, timeout: Optional[float] = None) -> list[model.Event]:
        """Takes events, waiting for the first; empty when none came. Acknowledges nothing: `ack` does."""
        with self._alone(), self._handing_back():
            return self._taken(max_events, timeout)

    def _fill(self, timeout: Optional[float]) -> None:
        with self._handing_back():
            self._in_hand.extend(self._taken(self.AT_ONCE, timeout))

    def _taken(self, max_events: int, timeout: Optional[float]) -> list[model.Event]:
        taken = in_slices(
            lambda ms: list(self._call(self._handle.next_events, max_events, ms)),
            timeout,
            self._is_virtual,
            self._waits,
        )
        return _convert.events(taken)

    @contextmanager
    def _handing_back(self) -> Iterator[None]:
        try:
            yield
        except RosterKitError:
            raise
        except BaseException:
            # Ctrl-C, with events on their way to here: they come again, or acknowledging what comes after them would
            # acknowledge them too.
            self.hand_back()
            raise

    def run(self, listener: AnyListener) -> None:
        """Calls a listener with the session's events on this thread, until the session has ended or `interrupt` is called.

        Returning acknowledges. After an `Exception`, which goes to the log, the events come again one by one, and a message
        that fails three times is parked; the hundredth in a row comes out of here. So does at once what is no
        `Exception`, as Ctrl-C: what the listener was called with is the first that is read next.
        """
        on_events, failures = hears(listener), 0
        with self._alone():
            begun = self._waits.begin()
            while not self._waits.end(begun):
                if not self._in_hand:
                    self._fill(None)
                events = list(self._in_hand)
                if not events:
                    return
                try:
                    on_events(events)
                except Exception:
                    failures += 1
                    self.fail()
                    if failures >= MAX_FAILURES:
                        raise
                    log_failure()
                else:
                    failures = 0
                    self.ack(events[-1].seq)
                    self._in_hand.clear()
                    if isinstance(events[-1], model.SessionEnded):
                        return

    def interrupt(self) -> None:
        """Ends the wait in `next_events`, which then returns nothing, in `events`, or in `run`, after the call it is in.

        When nobody waits, the next wait ends at once.
        """
        self._waits.rise()
        self._call(self._handle.interrupt)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._not_in_a_fork()
        # Ctrl-C may even keep what is to be done at the end from being done: then this is gone with whoever had it.
        here = _Inside()
        with self._looking:
            if self._inside() is not None:
                raise Misuse("somebody else reads this session's events")
            self._inside = weakref.ref(here)
        try:
            yield
        finally:
            self._inside = _nobody

    def ack(self, seq: int) -> None:
        """Acknowledges every event up to this number."""
        self._call(self._handle.ack, seq)

    def fail(self) -> None:
        """What was handed out and not acknowledged could not be dealt with: it comes again, one by one."""
        self._in_hand.clear()
        self._call(self._handle.fail)

    def hand_back(self) -> None:
        """What was handed out and not acknowledged comes again, and unlike with `fail` nothing is held against it."""
        self._in_hand.clear()
        self._call(self._handle.hand_back)

    def close(self) -> None:
        """Ends the session. Idempotent."""
        try:
            self._call(self._handle.shutdown)
        except Closed:
            pass


class _Inside:
    """Somebody reads a session, as long as this is there."""


def _nobody() -> Optional[_Inside]:
    return None


class _Stream(Iterator[model.Event]):
    """Reads a session. What it holds stays with the session, so that whoever reads next begins with it."""

    def __init__(self, session: Session, timeout: Optional[float]) -> None:
        self._session = session
        self._timeout = timeout
        self._given: Optional[model.Event] = None
        session._reader = self

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> model.Event:
        session = self._session
        if session._reader is not self:
            raise Misuse("somebody else reads this session's events")
        with session._alone():
            given, self._given = self._given, None
            if given is not None:
                session.ack(given.seq)
                if session._in_hand and session._in_hand[0] is given:
                    session._in_hand.popleft()
                if isinstance(given, model.SessionEnded):
                    raise StopIteration
            if not session._in_hand:
                session._fill(self._timeout)
            if not session._in_hand:
                raise StopIteration
            self._given = session._in_hand[0]
            return self._given


def session_options(
    device: Optional[str],
    instance: Optional[str],
    lease: Optional[float],
    reads_messages: bool,
    read_by_engine: bool,
    observes: bool = False,
) -> Any:
    """The library's options of a session."""
    return native.SessionOptions(
        device=device,
        instance=instance,
        lease_ms=_convert.millis(lease),
        reads_messages=reads_messages,
        read_through_engine=read_by_engine,
        observes=observes,
    )
