"""The engine."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Callable, Optional, Union

from . import _convert, _logging, model
from ._listening import Adapter, AnyListener, Progress
from ._native import Owner, call, native
from ._waiting import SLICE_MS, Interrupts, in_slices
from .commands import Answered, Command
from .errors import Closed, Forbidden, RosterKitError
from .link import PeerLink
from .relay import Relay
from .session import Session, session_options

_open: weakref.WeakSet[Owner] = weakref.WeakSet()


def shut_down_at_exit(engine: Owner) -> None:
    """A thread that calls into Python after its end would take the process down."""
    _open.add(engine)


class Engine(Owner):
    """A running engine on one file. Open one by `open`, `in_memory` or `virtual`.

    Leaving `with` shuts it down and waits until everything is written and the file let go.
    """

    def __init__(self, handle: Any, is_virtual: bool = False) -> None:
        super().__init__()
        self._handle = handle
        self._is_virtual = is_virtual
        self._answer_waits = Interrupts()
        self._batch_waits = Interrupts()
        self._host_waits = Interrupts()
        shut_down_at_exit(self)

    @classmethod
    def open(cls, path: Union[str, os.PathLike[str]], domains: Iterable[str] = (), **options: Any) -> Engine:
        """Opens an engine on a file, which is made when it is not there. For the options see `engine_options`."""
        _logging.start()
        return cls(call(native.Engine.open_file, os.fspath(path), engine_options(domains, **options)))

    @classmethod
    def in_memory(cls, domains: Iterable[str] = (), **options: Any) -> Engine:
        """Opens an engine that keeps everything in memory and nothing beyond its end."""
        _logging.start()
        return cls(call(native.Engine.open_in_memory, engine_options(domains, **options)))

    @classmethod
    def virtual(
        cls,
        domains: Iterable[str] = (),
        *,
        path: Union[str, os.PathLike[str], None] = None,
        seed: int = 0,
        start_ms: int = 1_700_000_000_000,
        **options: Any,
    ) -> Engine:
        """Opens an engine for tests: no thread and no waiting, time moves by `advance`, the seed fixes what is random."""
        _logging.start()
        where = None if path is None else os.fspath(path)
        handle = call(native.Engine.open_virtual, where, engine_options(domains, **options), seed, start_ms)
        return cls(handle, is_virtual=True)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.shutdown()
        except Closed:
            # A fork leaves the block as well, and has nothing to shut down.
            pass

    # ---- accounts and domains ----

    def create_account(self, address: str) -> None:
        """Makes an account in a hosted domain."""
        self._call(self._handle.create_account, address)

    def delete_account(self, address: str) -> None:
        """Deletes an account: its buddies are told, its sessions end."""
        self._call(self._handle.delete_account, address)

    def set_domain(
        self, name: str, preferences: model.PreferenceOverrides = model.PreferenceOverrides()
    ) -> None:
        """Hosts a domain, or changes what is set for it."""
        self._call(self._handle.set_domain, name, _convert.lowered_overrides(preferences))

    def remove_domain(self, name: str) -> None:
        """Hosts a domain no more. It must have no accounts left."""
        self._call(self._handle.remove_domain, name)

    def domains(self) -> dict[str, model.PreferenceOverrides]:
        """The hosted domains and what is set for them."""
        return {d.name: _convert.overrides(d.preferences) for d in self._call(self._handle.domains)}

    def set_rules(self, rules: str, domain: Optional[str] = None) -> None:
        """Replaces the rules of the server, or of a domain, by those of this JSON document (`docs/rules.md`)."""
        self._call(self._handle.set_rules, rules, domain)

    def rules(self, domain: Optional[str] = None) -> str:
        """The rules of the server, or of a domain, as JSON."""
        return str(self._call(self._handle.rules, domain))

    def import_xep0227(
        self,
        path: Union[str, os.PathLike[str]],
        progress: Optional[Callable[[model.ImportSummary], None]] = None,
    ) -> model.ImportSummary:
        """Imports the accounts of an XEP-0227 file, all or nothing. The domains must be hosted already.

        `progress` is called after each account that was read. What it raises calls the import off, and comes out here; so
        does Ctrl-C.
        """
        listener = Progress(progress)
        try:
            return _convert.import_summary(
                self._call(self._handle.import_xep0227, os.fspath(path), listener)
            )
        except Forbidden:
            if listener.raised is None:
                raise
        raise listener.raised

    def backup_to(self, path: Union[str, os.PathLike[str]]) -> None:
        """Copies everything that was committed before the call into a new file, from which an engine can be opened.

        It has that name when it is whole and synced. Other calls go on meanwhile. `Conflict` when there is a file of that
        name, `Misuse` when the engine keeps everything in memory.
        """
        self._call(self._handle.backup_to, os.fspath(path))

    def export_xep0227(self, path: Union[str, os.PathLike[str]]) -> model.ExportSummary:
        """Writes all accounts into a new XEP-0227 file: rosters and requests, credentials, who is blocked, files with the
        vCard, and the messages that wait, without what is in quarantine. `backup_to` has everything else too."""
        held = self._call(self._handle.export_xep0227, os.fspath(path))
        return model.ExportSummary(held.accounts, held.buddies, held.messages)

    # ---- sessions ----

    def open_session(
        self,
        address: str,
        *,
        device: Optional[str] = None,
        listener: Optional[AnyListener] = None,
        instance: Optional[str] = None,
        lease: Optional[float] = None,
        reads_messages: bool = True,
        read_by_engine: bool = False,
        observes: bool = False,
    ) -> Session:
        """Opens a session of an account. It ends when nothing refers to it any more.

        With a listener it is called back, else read by its `events`, `next_events` or `run`; with `read_by_engine` by the
        engine's `next_batches`, together with others. With a `lease` (in seconds) it ends when `touch` does not renew it.

        One that `observes` gets the roster, the presence of all buddies and the latest 1,000 conversations, then what of
        it is another, of each only the newest, and no messages; nobody is there because it is.
        """
        options = session_options(device, instance, lease, reads_messages, read_by_engine, observes)
        adapter = None if listener is None else Adapter(listener)
        handle = self._call(self._handle.open_session, address, options, adapter)
        return Session(handle, address, self._is_virtual)

    def send(
        self, sender: str, recipient: str, text: str, *, client_id: Optional[str] = None
    ) -> model.Receipt:
        """Sends a text for an account that has no session open."""
        options = _convert.send_options(client_id)
        return _convert.receipt(self._call(self._handle.send, sender, recipient, text, options))

    # ---- to other systems ----

    def open_relay(self, domains: Optional[Iterable[str]] = None) -> Relay:
        """Opens a relay to the addresses of these domains, or of all that are not hosted and have no other relay.

        They become reachable at once; what is sent to them waits until the relay is connected. It may speak for them and for
        nobody else.
        """
        names = None if domains is None else list(domains)
        return Relay(self._call(self._handle.open_relay, names), self._is_virtual)

    def open_peer_link(self, domains: Iterable[str]) -> PeerLink:
        """Opens a peer link to another engine, which hosts these domains. It may speak for them and for nobody else."""
        return PeerLink(self._call(self._handle.open_peer_link, list(domains)), self._is_virtual)

    # ---- many at once ----

    def submit(self, commands: Sequence[Command]) -> list[int]:
        """Hands over commands without waiting for any. Takes a prefix of them and gives its tickets.

        The answers come by `next_answers`. Raises when not even the first is taken, for instance `LimitExceeded`.
        """
        return list(self._call(self._handle.submit, [command.lowered() for command in commands]))

    def next_answers(self, max_answers: int = 256, timeout: Optional[float] = None) -> list[Answered]:
        """Takes answers, waiting for the first; empty when none came."""
        taken = in_slices(
            lambda ms: list(self._call(self._handle.next_answers, max_answers, ms)),
            timeout,
            self._is_virtual,
            self._answer_waits,
        )
        return [Answered.of(answered) for answered in taken]

    def next_host_events(self, max_events: int = 256, timeout: Optional[float] = None) -> list[model.HostEvent]:
        """Takes what the host itself is asked to do, waiting for the first; empty when none came.

        Nothing of it is kept: with more than 8,192 untaken the oldest are lost, and `Missed` says so.
        """
        taken = in_slices(
            lambda ms: list(self._call(self._handle.next_host_events, max_events, ms)),
            timeout,
            self._is_virtual,
            self._host_waits,
        )
        return [_convert.host_event(event) for event in taken]

    def next_batches(
        self, max_events: int = 256, timeout: Optional[float] = None, *, max_bytes: int = 1 << 20
    ) -> list[model.Batch]:
        """Takes batches of sessions that are read by the engine, waiting for the first; empty when none came.

        They have no more events in all than `max_events`, and no more content than `max_bytes`; an event that alone is
        larger comes alone.
        """
        taken = in_slices(
            lambda ms: list(self._call(self._handle.next_batches, max_events, max_bytes, ms)),
            timeout,
            self._is_virtual,
            self._batch_waits,
        )
        return [model.Batch(b.session_id, tuple(_convert.events(b.events))) for b in taken]

    def interrupt(self) -> None:
        """Ends every wait in `next_answers`, `next_batches` and `next_host_events`, which then returns nothing.

        Of each, when nobody waits, the next wait ends at once. Sessions have an `interrupt` of their own.
        """
        self._answer_waits.rise()
        self._batch_waits.rise()
        self._host_waits.rise()
        self._call(self._handle.interrupt)

    def wakeup_fd(self) -> int:
        """A descriptor for `select` and what is like it, on Unix.

        It is readable as long as there are answers or batches to take, and from the end of the engine on. Do not
        read it, do not close it, and do not wait on it any more when nothing refers to the engine.
        """
        descriptor: int = self._call(self._handle.wakeup_fd)
        return descriptor

    def ack(self, session_id: int, seq: int) -> None:
        """Acknowledges a batch, by its session and its last event's number."""
        self._call(self._handle.ack, session_id, seq)

    # ---- time and the end ----

    def advance(self, seconds: float) -> None:
        """Moves a virtual engine's time and does everything that falls due on the way."""
        self._call(self._handle.advance, _convert.millis(seconds))

    def shutdown(self, wait: bool = True) -> None:
        """Shuts the engine down: sessions end, everything is written, the file is let go. Idempotent.

        With `wait` it returns when that is done, and is refused inside a listener.
        """
        if not wait or self._is_virtual or threading.current_thread() is not threading.main_thread():
            self._call(self._handle.shutdown, wait)
            return
        # Only the main thread gets Ctrl-C, and only while it runs Python: another one waits for it.
        self._call(self._handle.shutdown, False)
        failed: list[RosterKitError] = []

        def waits() -> None:
            try:
                self._call(self._handle.shutdown, True)
            except RosterKitError as error:
                failed.append(error)

        thread = threading.Thread(target=waits, name="rosterkit-shutdown", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(SLICE_MS / 1000)
        if failed:
            raise failed[0]

    @property
    def failure(self) -> Optional[str]:
        """What made the engine fail: a defect of the library, after which it takes no more work."""
        failure: Optional[str] = self._call(self._handle.failure)
        return failure


def engine_options(
    domains: Iterable[str],
    *,
    shards: Optional[int] = None,
    idle_accounts: Optional[int] = None,
    relaxed: bool = False,
    preferences: Optional[model.PreferenceOverrides] = None,
    limits: Optional[model.Limits] = None,
    presence_order: Optional[Sequence[Union[model.PresenceState, str]]] = None,
    max_in_flight: Optional[int] = None,
    max_in_flight_bytes: Optional[int] = None,
    max_listeners: Optional[int] = None,
) -> Any:
    """How an engine is opened. What is left out is as the engine has it.

    `domains` are those the host answers for. With `relaxed`, messages are answered before they are on disk, where they are
    within 200 ms. `max_in_flight` and `max_in_flight_bytes` bound what may be under way, `max_listeners` the threads that
    listeners may block.
    """
    order = None
    if presence_order is not None:
        order = [_convert.lowered(_convert.choice(model.PresenceState, state)) for state in presence_order]
    return native.EngineOptions(
        domains=list(domains),
        shards=shards,
        idle_accounts=idle_accounts,
        relaxed=relaxed,
        preferences=None if preferences is None else _convert.lowered_overrides(preferences),
        limits=None if limits is None else native.LimitOptions(**asdict(limits)),
        presence_order=order,
        max_in_flight=max_in_flight,
        max_in_flight_bytes=max_in_flight_bytes,
        max_listeners=max_listeners,
    )


def _at_exit() -> None:
    for engine in list(_open):
        try:
            engine._call(engine._handle.shutdown, True)  # type: ignore[attr-defined]
        except RosterKitError:
            pass
    _logging.stop()


atexit.register(_at_exit)
