"""RosterKit for asyncio.

    async with rosterkit.aio.Engine.open("im.db", domains=["example.org"]) as engine:
        await engine.create_account("alice@example.org")
        async with await engine.open_session("alice@example.org") as alice:
            await alice.send("bob@example.org", "hello")
            async for event in alice.events(timeout=1):
                ...

Nothing in the library is async: commands are submitted and answered by ticket, events are read through the engine, and the
loop watches the engine's descriptor for both. A thousand sends in flight need no thread. Cancelling abandons the wait and
never the operation. It needs a loop with `add_reader`, so a Unix.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterable, Sequence
from typing import Any, Callable, Optional, Union

from . import _convert, _logging, commands, engine as _sync, model
from ._native import Owner, call, native
from .errors import Closed, Misuse, RosterKitError
from .session import session_options

#: How much one look brings, so that the loop turns meanwhile. What is left makes it look again.
_AT_ONCE = 256
_BYTES_AT_ONCE = 1 << 20


class _Opening:
    """An engine that is being opened: `async with` it, or `await` it."""

    def __init__(self, open_it: Callable[[], Any]) -> None:
        self._open_it = open_it
        self._engine: Optional[Engine] = None

    async def _opened(self) -> Engine:
        loop = asyncio.get_running_loop()
        _logging.start()
        return Engine(await loop.run_in_executor(None, lambda: call(self._open_it)), loop)

    def __await__(self) -> Generator[Any, None, Engine]:
        return self._opened().__await__()

    async def __aenter__(self) -> Engine:
        self._engine = await self._opened()
        return self._engine

    async def __aexit__(self, *_: object) -> None:
        if self._engine is not None:
            try:
                await self._engine.shutdown()
            except Closed:
                pass


class Engine(Owner):
    """A running engine, as one event loop has it. Open one by `open` or `in_memory`."""

    def __init__(self, handle: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._handle = handle
        self._loop = loop
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        # A session ends when nobody has it any more.
        self._sessions: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()
        # What came for sessions that are being opened.
        self._opening = 0
        self._early: dict[int, list[model.Event]] = {}
        self._open_ends = {"answers", "events"}
        self._descriptor: int = self._call(handle.wakeup_fd)
        loop.add_reader(self._descriptor, _look, weakref.ref(self))
        self._unwatch = weakref.finalize(self, _unwatch_later, loop, self._descriptor, handle)
        self._unwatch.atexit = False
        _sync.shut_down_at_exit(self)

    @classmethod
    def open(cls, path: Union[str, os.PathLike[str]], domains: Iterable[str] = (), **options: Any) -> _Opening:
        """Opens an engine on a file. The options are those of `rosterkit.Engine.open`."""
        given = _sync.engine_options(domains, **options)
        return _Opening(lambda: native.Engine.open_file(os.fspath(path), given))

    @classmethod
    def in_memory(cls, domains: Iterable[str] = (), **options: Any) -> _Opening:
        """Opens an engine that keeps everything in memory and nothing beyond its end."""
        given = _sync.engine_options(domains, **options)
        return _Opening(lambda: native.Engine.open_in_memory(given))

    # ---- asking ----

    async def ask(self, command: commands.Command) -> Any:
        """Submits a command and waits for its answer."""
        return await self._submit(command)

    async def create_account(self, address: str) -> None:
        """Makes an account in a hosted domain."""
        await self._submit(commands.create_account(address))

    async def delete_account(self, address: str) -> None:
        """Deletes an account: its buddies are told, its sessions end."""
        await self._submit(commands.delete_account(address))

    async def open_session(
        self,
        address: str,
        *,
        device: Optional[str] = None,
        instance: Optional[str] = None,
        lease: Optional[float] = None,
        reads_messages: bool = True,
        observes: bool = False,
    ) -> Session:
        """Opens a session of an account. It ends when nothing refers to it any more."""
        options = session_options(device, instance, lease, reads_messages, True, observes)
        self._opening += 1
        try:
            handle = await self._in_thread(self._handle.open_session, address, options, None)
            session = Session(self, handle, address)
            self._sessions[session.id] = session
            session._arrived(self._early.pop(session.id, []))
            return session
        finally:
            self._opening -= 1
            if self._opening == 0:
                self._early.clear()

    async def shutdown(self) -> None:
        """Shuts the engine down and waits until everything is written and the file let go. Idempotent."""
        await self._in_thread(self._handle.shutdown, True)
        # What was answered and told at the end is there by now.
        while self._open_ends:
            self._look()

    def _submit(self, command: commands.Command) -> asyncio.Future[Any]:
        [ticket] = self._call(self._handle.submit, [command.lowered()])
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[ticket] = future
        return future

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await self._loop.run_in_executor(None, lambda: self._call(function, *arguments))

    # ---- what the engine has for the loop ----

    def _look(self) -> None:
        if "answers" in self._open_ends:
            try:
                answers = self._call(self._handle.next_answers, _AT_ONCE, 0)
            except RosterKitError:
                self._has_ended("answers")
            else:
                for answered in answers:
                    self._answered(answered.ticket, _convert.answer(answered.answer))
        if "events" in self._open_ends:
            try:
                batches = self._call(self._handle.next_batches, _AT_ONCE, _BYTES_AT_ONCE, 0)
            except RosterKitError:
                self._has_ended("events")
            else:
                for batch in batches:
                    self._happened(batch.session_id, _convert.events(batch.events))

    def _answered(self, ticket: int, result: Any) -> None:
        future = self._waiting.pop(ticket)
        if future.done():
            return
        if isinstance(result, RosterKitError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def _happened(self, session_id: int, events: list[model.Event]) -> None:
        session = self._sessions.get(session_id)
        if session is not None:
            session._arrived(events)
        elif self._opening:
            self._early.setdefault(session_id, []).extend(events)

    def _has_ended(self, what: str) -> None:
        self._open_ends.discard(what)
        if what == "answers":
            for ticket in list(self._waiting):
                self._answered(ticket, Closed("the engine is shut down"))
        else:
            # Whoever was not told is told now: the engine is down, and a stream must not wait for ever.
            for session in list(self._sessions.values()):
                session._arrived([model.SessionEnded(session._last_seq, "shutdown")])
        if not self._open_ends and self._unwatch.detach():
            self._loop.remove_reader(self._descriptor)


def _look(engine: weakref.ref[Engine]) -> None:
    here = engine()
    if here is not None:
        here._look()


def _unwatch_later(loop: asyncio.AbstractEventLoop, descriptor: int, handle: Any) -> None:
    """Nobody has the engine any more, which may be found on any thread. The descriptor is the engine's until it is left."""
    try:
        loop.call_soon_threadsafe(_unwatch, loop, descriptor, handle)
    except RuntimeError:
        # The loop is closed, and watches nothing.
        pass


def _unwatch(loop: asyncio.AbstractEventLoop, descriptor: int, _handle: Any) -> None:
    loop.remove_reader(descriptor)


class Session:
    """One connected client of an account, as one event loop has it."""

    def __init__(self, engine: Engine, handle: Any, account: str) -> None:
        self._engine = engine
        self._handle = handle
        self._in_hand: deque[model.Event] = deque()
        self._wake = asyncio.Event()
        self._last_seq = 0
        self._reader: Optional[object] = None
        #: The account's address.
        self.account = account
        #: The session's number in this run of the engine.
        self.id: int = engine._call(handle.session_id)
        #: The session's full address.
        self.address: str = engine._call(handle.address)

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def ask(self, what: Any) -> Any:
        """Submits one of the library's commands for this session and waits for its answer."""
        return await self._engine._submit(commands.Command(self.account, self.id, what))

    async def send(
        self,
        recipient: str,
        body: Union[str, model.Data],
        *,
        client_id: Optional[str] = None,
        extensions: bytes = b"",
        reply_to: Optional[str] = None,
        expires_ms: Optional[int] = None,
    ) -> model.Receipt:
        """Sends a text, or data. Returns when it is on disk, and raises what refuses it."""
        options = _convert.send_options(client_id, extensions, reply_to, expires_ms)
        receipt: model.Receipt = await self.ask(commands.send_command(recipient, body, options))
        return receipt

    async def edit_message(
        self, recipient: str, message_id: str, text: str, *, client_id: Optional[str] = None
    ) -> model.Receipt:
        """Changes what a message says that the account sent to this peer."""
        edit = native.Command.EDIT_MESSAGE(
            recipient=recipient, message_id=message_id, text=text, client_id=client_id
        )
        receipt: model.Receipt = await self.ask(edit)
        return receipt

    async def retract_message(
        self, recipient: str, message_id: str, *, client_id: Optional[str] = None
    ) -> model.Receipt:
        """Takes back a message that the account sent to this peer."""
        retract = native.Command.RETRACT_MESSAGE(
            recipient=recipient, message_id=message_id, client_id=client_id
        )
        receipt: model.Receipt = await self.ask(retract)
        return receipt

    async def mark_read(self, peer: str, upto: int) -> None:
        """The account's people have read what this peer sent, up to that position."""
        await self.ask(native.Command.MARK_READ(peer=peer, upto=upto))

    async def conversations(self, before: Optional[int] = None, *, limit: int = 50) -> model.ConversationsPage:
        """A page of the account's conversations, the latest first."""
        read = native.Command.READ_CONVERSATIONS(before=before, limit=limit)
        page: model.ConversationsPage = await self.ask(read)
        return page

    async def typing(
        self, recipient: str, state: Union[model.ChatState, str] = model.ChatState.COMPOSING
    ) -> None:
        """Tells somebody what the person does in the conversation."""
        lowered = _convert.lowered(_convert.choice(model.ChatState, state))
        await self.ask(native.Command.TELL_TYPING(recipient=recipient, state=lowered))

    async def history(
        self,
        peer: Optional[str] = None,
        *,
        beside: Optional[int] = None,
        at_time_ms: Optional[int] = None,
        newer: bool = False,
        limit: int = 50,
    ) -> model.HistoryPage:
        """Reads a page of history."""
        request = _convert.history_request(peer, beside, at_time_ms, newer, limit)
        page: model.HistoryPage = await self.ask(native.Command.READ_HISTORY(request=request))
        return page

    async def search_history(
        self, text: str, peer: Optional[str] = None, *, before: Optional[int] = None, limit: int = 50
    ) -> model.SearchPage:
        """Looks through the history for a text, the newest messages first."""
        search = native.Command.SEARCH_HISTORY(text=text, peer=peer, before=before, limit=limit)
        page: model.SearchPage = await self.ask(search)
        return page

    async def forget_history(self, peer: Optional[str] = None) -> None:
        """Forgets what the account has with a peer, or everything."""
        await self.ask(native.Command.FORGET_HISTORY(peer=peer))

    async def add_buddy(
        self, peer: str, *, name: Optional[str] = None, groups: Optional[Sequence[str]] = None, note: str = ""
    ) -> None:
        """Asks somebody to be a buddy, both ways; confirms who asked already."""
        in_groups = None if groups is None else list(groups)
        await self.ask(native.Command.ADD_BUDDY(peer=peer, name=name, groups=in_groups, note=note))

    async def confirm_buddy(self, peer: str) -> None:
        """Confirms who asked."""
        await self.add_buddy(peer)

    async def decline_buddy(self, peer: str) -> None:
        """Declines who asked: both directions end."""
        await self.remove_buddy(peer)

    async def remove_buddy(self, peer: str) -> None:
        """Removes a buddy: both directions end."""
        await self.ask(native.Command.REMOVE_BUDDY(peer=peer))

    async def update_buddy(
        self, peer: str, *, name: Optional[str] = None, groups: Optional[Sequence[str]] = None
    ) -> None:
        """Changes a buddy's name or groups; they are not told."""
        in_groups = None if groups is None else list(groups)
        await self.ask(native.Command.UPDATE_BUDDY(peer=peer, name=name, groups=in_groups))

    async def invite(self, expires_ms: int) -> str:
        """Makes an invitation for one person, until then (Unix milliseconds)."""
        token: str = await self.ask(native.Command.INVITE(expires_ms=expires_ms))
        return token

    async def redeem_invitation(self, peer: str, token: str) -> None:
        """Adds who gave this invitation: both are confirmed."""
        await self.ask(native.Command.REDEEM_INVITATION(peer=peer, token=token))

    async def revoke_invitations(self, token: Optional[str] = None) -> None:
        """Takes an invitation back, or all of them."""
        await self.ask(native.Command.REVOKE_INVITATIONS(token=token))

    async def roster(self, since: Optional[int] = None) -> model.Roster:
        """The roster; or what changed in it since a version."""
        roster: model.Roster = await self.ask(native.Command.READ_ROSTER(since=since))
        return roster

    async def block(self, peer: str, blocked: bool = True) -> None:
        """Blocks an address or a domain, or lifts the block."""
        await self.ask(native.Command.BLOCK(peer=peer, blocked=blocked))

    async def blocked(self) -> list[str]:
        """Who is blocked."""
        addresses: list[str] = await self.ask(native.Command.READ_BLOCKED())
        return addresses

    async def quarantined(self, after: int = 0, *, limit: int = 50) -> model.HistoryPage:
        """What waits in quarantine, oldest first, behind this position."""
        read = native.Command.READ_QUARANTINED(after=after, limit=limit)
        page: model.HistoryPage = await self.ask(read)
        return page

    async def admit_sender(self, sender: str) -> None:
        """Takes a sender out of quarantine for good: what waits from them is delivered."""
        await self.ask(native.Command.ADMIT_SENDER(sender=sender))

    async def refuse_sender(self, sender: str, *, block: bool = False) -> None:
        """Drops what waits from a sender; they are not told."""
        await self.ask(native.Command.REFUSE_SENDER(sender=sender, block=block))

    async def set_presence(
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
        """Shows a presence."""
        presence = _convert.presence_update(state, note, priority, until_ms, invisible, layer, extensions)
        await self.ask(native.Command.SET_PRESENCE(presence=presence))

    async def clear_presence(
        self, layer: Union[model.PresenceLayer, str] = model.PresenceLayer.MANUAL
    ) -> None:
        """What a person, or a program, set does not count any more."""
        lowered = _convert.lowered(_convert.choice(model.PresenceLayer, layer))
        await self.ask(native.Command.CLEAR_PRESENCE(layer=lowered))

    async def go_offline(self) -> None:
        """Shows nothing and sees nothing any more; messages still come."""
        await self.ask(native.Command.GO_OFFLINE())

    async def presence(self, buddy: str) -> model.Presence:
        """What a buddy shows, or the account itself."""
        presence: model.Presence = await self.ask(native.Command.READ_PRESENCE(buddy=buddy))
        return presence

    async def direct_presence(
        self,
        recipient: str,
        state: Union[model.PresenceState, str, None],
        *,
        note: Optional[str] = None,
        extensions: bytes = b"",
    ) -> None:
        """Shows this session's presence to an address of its own, or takes that back."""
        presence = _convert.directed(state, note, extensions)
        await self.ask(native.Command.DIRECT_PRESENCE(recipient=recipient, presence=presence))

    async def set_visibility(self, viewer: str, visibility: Union[model.Visibility, str]) -> None:
        """Sets how much a buddy sees of the account's presence."""
        lowered = _convert.lowered(_convert.choice(model.Visibility, visibility))
        await self.ask(native.Command.SET_VISIBILITY(viewer=viewer, visibility=lowered))

    async def last_seen(self, buddy: str) -> Optional[model.LastSeen]:
        """When a buddy was last there, as precisely as they say."""
        seen: Optional[model.LastSeen] = await self.ask(native.Command.READ_LAST_SEEN(buddy=buddy))
        return seen

    async def query(self, recipient: str, body: Union[str, model.Data]) -> int:
        """Asks another session; its answer comes as a `QueryAnswered` with this number."""
        lowered = _convert.lowered_body(body)
        number: int = await self.ask(native.Command.QUERY(recipient=recipient, body=lowered))
        return number

    async def answer_query(self, query: int, body: Union[str, model.Data, None] = None) -> None:
        """Answers a query that came to this session."""
        lowered = None if body is None else _convert.lowered_body(body)
        await self.ask(native.Command.ANSWER_QUERY(query=query, body=lowered))

    async def set_activity(self, activity: Union[model.Activity, str]) -> None:
        """What the person does with the app."""
        lowered = _convert.lowered(_convert.choice(model.Activity, activity))
        await self.ask(native.Command.SET_ACTIVITY(activity=lowered))

    async def preferences(self) -> model.Preferences:
        """What is in force for the account."""
        preferences: model.Preferences = await self.ask(native.Command.READ_PREFERENCES())
        return preferences

    async def set_preferences(self, overrides: model.PreferenceOverrides) -> None:
        """Replaces what the account set for itself."""
        lowered = _convert.lowered_overrides(overrides)
        await self.ask(native.Command.SET_PREFERENCES(overrides=lowered))

    async def devices(self) -> list[str]:
        """The account's named devices."""
        devices: list[str] = await self.ask(native.Command.READ_DEVICES())
        return devices

    async def retire_device(self, device: str) -> None:
        """Forgets a named device."""
        await self.ask(native.Command.RETIRE_DEVICE(device=device))

    def events(self, timeout: Optional[float] = None) -> AsyncIterator[model.Event]:
        """The session's events: asking for the next one acknowledges the one before. See `rosterkit.Session.events`."""
        return _Stream(self, timeout)

    def close(self) -> None:
        """Ends the session. Idempotent."""
        try:
            self._engine._call(self._handle.shutdown)
        except Closed:
            pass

    def _arrived(self, events: Sequence[model.Event]) -> None:
        self._in_hand.extend(events)
        if events:
            self._last_seq = events[-1].seq
        if events and isinstance(events[-1], model.SessionEnded):
            self._engine._sessions.pop(self.id, None)
        if events:
            self._wake.set()


class _Stream(AsyncIterator[model.Event]):
    """Reads a session. What was not finished stays with the session, so that whoever reads next begins with it."""

    def __init__(self, session: Session, timeout: Optional[float]) -> None:
        self._session = session
        self._timeout = timeout
        self._given: Optional[model.Event] = None
        self._over = False
        session._reader = self

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> model.Event:
        session = self._session
        if session._reader is not self:
            raise Misuse("somebody else reads this session's events")
        given, self._given = self._given, None
        if given is not None:
            session._in_hand.popleft()
            self._over = isinstance(given, model.SessionEnded)
            if not self._over:
                session._engine._call(session._engine._handle.ack, session.id, given.seq)
        while not session._in_hand:
            if self._over or "events" not in session._engine._open_ends:
                raise StopAsyncIteration
            session._wake.clear()
            try:
                await asyncio.wait_for(session._wake.wait(), self._timeout)
            except asyncio.TimeoutError:
                raise StopAsyncIteration from None
        self._given = session._in_hand[0]
        return self._given
