"""Every function of the library, called inside a listener: it works, or raises what is documented. None hangs.

The names come from the built library, so that a function without a line here fails the test.
"""

from __future__ import annotations

import faulthandler
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

import rosterkit
from conftest import ALICE, BOB, CAROL
from rosterkit._listening import Adapter, Progress
from rosterkit._native import native

OPTIONS = native.EngineOptions(domains=["example.org"])
IN_SECONDS = 30.0


class Inside:
    """What there is inside a listener: the engine, the session that is being told, and a folder."""

    def __init__(self, engine: Any, session: Any, folder: Path) -> None:
        self.engine, self.session, self.folder = engine, session, folder

    def relays(self) -> None:
        self.relay = self.engine.open_relay(["relay.example"])

    def links(self) -> None:
        self.link = self.engine.open_peer_link(["link.example"])

    def submit(self) -> Any:
        command = native.SubmittedCommand(account=BOB, command=native.Command.READ_BLOCKED())
        return self.engine.submit([command])

    def log(self) -> None:
        native.remove_log_sink(native.add_log_sink(Sink(), native.LogLevel.ERROR, "nowhere"))


class Sink(native.LogSink):  # type: ignore[misc]
    def on_record(self, record: Any) -> None:
        pass


def options(**given: Any) -> Any:
    return native.SessionOptions(**given)


def ignore(_: object) -> None:
    pass


PARCEL = native.Parcel(
    sender="eve@relay.example",
    recipient=CAROL,
    contents=native.ParcelContents.MESSAGES(
        messages=[native.RelayedMessage(body=native.MessageBody.TEXT(text="from outside"))]
    ),
)
NO_RULES = '{"rules": []}'
PUSH = native.Registration(name="phone", kind=native.RegistrationKind.PUSH, contact="x", expires_ms=1 << 50)
NOBODYS = "00000000-0000-0000-0000-000000000000"
NOTICE = native.Notice.PRESENCE_ASKED(watcher="eve@relay.example", subject=BOB)
SEND = native.SendOptions()
NOTHING = native.PreferenceOverrides()
PRESENCE = native.PresenceUpdate(state=native.PresenceState.BUSY)

#: What is called for each, in this order, and the error that is documented for it, if one is. What ends things is last.
CALLS: dict[str, tuple[Callable[[Inside], object], Optional[str]]] = {
    "version": (lambda _: native.version(), None),
    "git_revision": (lambda _: native.git_revision(), None),
    "add_log_sink": (lambda i: i.log(), None),
    "remove_log_sink": (lambda i: i.log(), None),
    "Engine.open_file": (lambda i: native.Engine.open_file(str(i.folder / "b.db"), OPTIONS).shutdown(False), None),
    "Engine.open_in_memory": (lambda _: native.Engine.open_in_memory(OPTIONS).shutdown(False), None),
    "Engine.open_virtual": (lambda _: native.Engine.open_virtual(None, OPTIONS, 1, 0).shutdown(False), None),
    "Engine.create_account": (lambda i: i.engine.create_account("dave@example.org"), None),
    "Engine.delete_account": (lambda i: i.engine.delete_account("dave@example.org"), None),
    "Engine.set_domain": (lambda i: i.engine.set_domain("example.net", NOTHING), None),
    "Engine.remove_domain": (lambda i: i.engine.remove_domain("example.net"), None),
    "Engine.domains": (lambda i: i.engine.domains(), None),
    "Engine.set_rules": (lambda i: i.engine.set_rules(NO_RULES, None), None),
    "Engine.rules": (lambda i: i.engine.rules(None), None),
    "Engine.next_host_events": (lambda i: i.engine.next_host_events(8, 0), None),
    "Engine.import_xep0227": (lambda i: i.engine.import_xep0227("/nowhere", Progress(None)), "InvalidArgument"),
    "Engine.backup_to": (lambda i: i.engine.backup_to("/nowhere/copy"), "Storage"),
    "Engine.export_xep0227": (lambda i: i.engine.export_xep0227("/nowhere/export.xml"), "Storage"),
    "Engine.open_session": (lambda i: i.engine.open_session(CAROL, options(), Adapter(ignore)), None),
    "Engine.send": (lambda i: i.engine.send(BOB, CAROL, "hello", SEND), None),
    "Engine.submit": (lambda i: i.submit(), None),
    "Engine.next_answers": (lambda i: i.engine.next_answers(8, 5_000), None),
    "Engine.next_batches": (lambda i: i.engine.next_batches(8, 1_024, 0), None),
    "Engine.open_relay": (lambda i: i.relays(), None),
    "Engine.open_peer_link": (lambda i: i.links(), None),
    "Relay.connect": (lambda i: i.relay.connect(), None),
    "Relay.next_outgoing": (lambda i: i.relay.next_outgoing(1, 0), None),
    "Relay.interrupt": (lambda i: i.relay.interrupt(), None),
    "Relay.settle": (lambda i: i.relay.settle("x", native.Settlement.RETRY()), "InvalidArgument"),
    "Relay.receive": (lambda i: i.relay.receive(PARCEL), None),
    "Relay.receive_notice": (lambda i: i.relay.receive_notice(NOTICE), None),
    "Relay.disconnect": (lambda i: i.relay.disconnect(), None),
    "Relay.shutdown": (lambda i: i.relay.shutdown(), None),
    "PeerLink.connect": (lambda i: i.link.connect(), None),
    "PeerLink.state": (lambda i: i.link.state(), None),
    "PeerLink.take": (lambda i: i.link.take(1_024, 5_000), None),
    "PeerLink.feed": (lambda i: i.link.feed(b"GET /"), "InvalidArgument"),
    "PeerLink.disconnect": (lambda i: i.link.disconnect(), None),
    "PeerLink.shutdown": (lambda i: i.link.shutdown(), None),
    "Engine.interrupt": (lambda i: i.engine.interrupt(), None),
    "Engine.wakeup_fd": (lambda i: i.engine.wakeup_fd(), None),
    "Engine.ack": (lambda i: i.engine.ack(i.session.session_id(), 0), None),
    "Engine.advance": (lambda i: i.engine.advance(1), "Misuse"),
    "Engine.failure": (lambda i: i.engine.failure(), None),
    "Engine.engine_id": (lambda i: i.engine.engine_id(), None),
    "Engine.panic_for_test": (lambda i: i.engine.panic_for_test("no"), "Misuse"),
    "Session.session_id": (lambda i: i.session.session_id(), None),
    "Session.address": (lambda i: i.session.address(), None),
    "Session.send": (lambda i: i.session.send(CAROL, "hello", SEND), None),
    "Session.send_data": (lambda i: i.session.send_data(CAROL, "text/csv", b"1,2", SEND), None),
    "Session.tell_typing": (lambda i: i.session.tell_typing(CAROL, native.ChatState.COMPOSING), None),
    "Session.edit_message": (lambda i: i.session.edit_message(CAROL, NOBODYS, "x", None), "NotFound"),
    "Session.retract_message": (lambda i: i.session.retract_message(CAROL, NOBODYS, None), "NotFound"),
    "Session.mark_read": (lambda i: i.session.mark_read(CAROL, 1), None),
    "Session.conversations": (lambda i: i.session.conversations(None, 10), None),
    "Session.write_file": (lambda i: i.session.write_file("notes", b"x"), None),
    "Session.files": (lambda i: i.session.files(""), None),
    "Session.read_file": (lambda i: i.session.read_file("notes", None), None),
    "Session.remove_file": (lambda i: i.session.remove_file("notes"), None),
    "Session.set_rules": (lambda i: i.session.set_rules(NO_RULES), None),
    "Session.rules": (lambda i: i.session.rules(), None),
    "Session.explain_rules": (lambda i: i.session.explain_rules(CAROL, "x"), None),
    "Session.explain_presence": (lambda i: i.session.explain_presence(CAROL), None),
    "Session.explain_admission": (lambda i: i.session.explain_admission(CAROL), None),
    "Session.explain_delivery": (lambda i: i.session.explain_delivery(1), "NotFound"),
    "Session.add_registration": (lambda i: i.session.add_registration(PUSH), None),
    "Session.registrations": (lambda i: i.session.registrations(), None),
    "Session.remove_registration": (lambda i: i.session.remove_registration("phone"), None),
    "Session.search_history": (lambda i: i.session.search_history("x", None, None, 10), None),
    "Session.history": (lambda i: i.session.history(native.HistoryRequest()), None),
    "Session.add_buddy": (lambda i: i.session.add_buddy(CAROL, "Carol", None, None), None),
    "Session.update_buddy": (lambda i: i.session.update_buddy(CAROL, None, ["Friends"]), None),
    "Session.confirm_buddy": (lambda i: i.session.confirm_buddy(ALICE), None),
    "Session.decline_buddy": (lambda i: i.session.decline_buddy(ALICE), None),
    "Session.remove_buddy": (lambda i: i.session.remove_buddy(CAROL), None),
    "Session.roster": (lambda i: i.session.roster(None), None),
    "Session.block": (lambda i: i.session.block("example.com", True), None),
    "Session.blocked": (lambda i: i.session.blocked(), None),
    "Session.quarantined": (lambda i: i.session.quarantined(0, 10), None),
    "Session.admit_sender": (lambda i: i.session.admit_sender(CAROL), None),
    "Session.refuse_sender": (lambda i: i.session.refuse_sender(CAROL, False), None),
    "Session.invite": (lambda i: i.session.invite(1), "InvalidArgument"),
    "Session.redeem_invitation": (lambda i: i.session.redeem_invitation(CAROL, "a" * 16), None),
    "Session.revoke_invitations": (lambda i: i.session.revoke_invitations(None), None),
    "Session.set_presence": (lambda i: i.session.set_presence(PRESENCE), None),
    "Session.forget_history": (lambda i: i.session.forget_history(CAROL), None),
    "Session.direct_presence": (lambda i: i.session.direct_presence(CAROL, PRESENCE), None),
    "Session.set_visibility": (lambda i: i.session.set_visibility(CAROL, native.Visibility.HIDDEN), None),
    "Session.last_seen": (lambda i: i.session.last_seen(BOB), None),
    "Session.query": (lambda i: i.session.query(BOB + "/nowhere", native.MessageBody.TEXT(text="?")), None),
    "Session.answer_query": (lambda i: i.session.answer_query(1, None), "NotFound"),
    "Session.presence": (lambda i: i.session.presence(BOB), None),
    "Session.clear_presence": (lambda i: i.session.clear_presence(native.PresenceLayer.AUTOMATIC), None),
    "Session.go_offline": (lambda i: i.session.go_offline(), None),
    "Session.set_activity": (lambda i: i.session.set_activity(native.Activity.BACKGROUND), None),
    "Session.touch": (lambda i: i.session.touch(), None),
    "Session.preferences": (lambda i: i.session.preferences(), None),
    "Session.set_preferences": (lambda i: i.session.set_preferences(NOTHING), None),
    "Session.devices": (lambda i: i.session.devices(), None),
    "Session.retire_device": (lambda i: i.session.retire_device("phone"), "NotFound"),
    # Its events are being read: by this listener.
    "Session.next_events": (lambda i: i.session.next_events(1, 0), "Misuse"),
    "Session.run": (lambda i: i.session.run(Adapter(ignore)), "Misuse"),
    "Session.ack": (lambda i: i.session.ack(0), None),
    "Session.fail": (lambda i: i.session.fail(), None),
    "Session.hand_back": (lambda i: i.session.hand_back(), None),
    "Session.interrupt": (lambda i: i.session.interrupt(), None),
    "Session.shutdown": (lambda i: i.session.shutdown(), None),
    # Not waiting works, and is tested with the listeners that drop the engine.
    "Engine.shutdown": (lambda i: i.engine.shutdown(True), "Misuse"),
}


def exported() -> list[str]:
    file = os.environ.get("ROSTERKIT_EXPORTED")
    if file is None:
        pytest.skip("run by `cargo xtask python`, which says what the library exports")
    names: list[str] = json.loads(Path(file).read_text())
    return names


def test_every_function_has_a_line() -> None:
    assert sorted(CALLS) == sorted(exported())


@pytest.mark.parametrize("where", ["on a thread of the engine's", "on a lent thread"])
def test_every_function_inside_a_listener(engine: rosterkit.Engine, tmp_path: Path, where: str) -> None:
    said: dict[str, Optional[str]] = {}
    over, known = threading.Event(), threading.Event()
    handle = engine._handle
    session: Any = None

    def calls(events: Sequence[rosterkit.Event]) -> None:
        if over.is_set():
            return
        known.wait()
        inside = Inside(handle, session, tmp_path)
        for name, (call, _) in CALLS.items():
            said[name] = "it did not return"
            try:
                call(inside)
                said[name] = None
            except native.RosterKitError as error:
                said[name] = type(error).__name__
            except BaseException as error:
                said[name] = repr(error)
        over.set()

    lent = where == "on a lent thread"
    session = handle.open_session(BOB, options(), None if lent else Adapter(calls))
    known.set()
    runner = threading.Thread(target=lambda: session.run(Adapter(calls)), daemon=True)
    if lent:
        runner.start()
    engine.send(ALICE, BOB, "go")
    if not over.wait(IN_SECONDS):
        faulthandler.dump_traceback(all_threads=True)
    documented = {name: error for name, (_, error) in CALLS.items()}
    assert said == documented
    if lent:
        runner.join(IN_SECONDS)
        assert not runner.is_alive()
