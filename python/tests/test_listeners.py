"""Listeners that raise, block, call the engine, or let go of it."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest

import rosterkit
from conftest import ALICE, BOB, CAROL, eventually, texts

EXPORT = Path(__file__).parents[2] / "tests/fixtures/xep0227/ejabberd-23.01.xml"


class Stops(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.parametrize("error", [ValueError("no"), Stops(), KeyboardInterrupt(), SystemExit(3)])
def test_a_listener_that_raises_gets_it_again(engine: rosterkit.Engine, error: BaseException) -> None:
    heard: list[rosterkit.Event] = []

    class Fails:
        def on_events(self, events: Sequence[rosterkit.Event]) -> None:
            heard.extend(events)
            if len(heard) == 1:
                raise error

    session = engine.open_session(BOB, listener=Fails())
    engine.send(ALICE, BOB, "hello")
    eventually(lambda: len(heard) == 2)
    first, second = heard
    assert first == second and first.seq < second.seq
    session.close()


def test_a_listener_calls_the_engine(engine: rosterkit.Engine) -> None:
    refused: list[BaseException] = []
    bob: Optional[rosterkit.Session] = None

    def answers(events: Sequence[rosterkit.Event]) -> None:
        for event in events:
            if isinstance(event, rosterkit.MessageReceived) and bob is not None:
                bob.send(event.message.sender, "yes, " + str(event.message.text))
                try:
                    engine.shutdown(wait=True)
                except rosterkit.Misuse as error:
                    refused.append(error)

    bob = engine.open_session(BOB, listener=answers)
    alice = engine.open_session(ALICE)
    alice.send(BOB, "hello")
    assert texts(alice.next_events(timeout=2)) == ["yes, hello"]
    eventually(lambda: len(refused) == 1)


def test_a_listener_drops_the_engine() -> None:
    engine: Optional[rosterkit.Engine] = rosterkit.Engine.in_memory(["example.org"])
    assert engine is not None
    engine.create_account(ALICE)
    engine.create_account(BOB)
    heard: list[rosterkit.Event] = []

    def drops(events: Sequence[rosterkit.Event]) -> None:
        nonlocal engine
        engine = None
        heard.extend(events)

    bob = engine.open_session(BOB, listener=drops)
    engine.send(ALICE, BOB, "hello")
    eventually(lambda: rosterkit.SessionEnded(0, "shutdown") in heard)
    with pytest.raises(rosterkit.Closed):
        bob.roster()


def test_a_listener_of_the_log_that_raises_changes_nothing(engine: rosterkit.Engine) -> None:
    """What it raises, also no `Exception`, ends on the thread of the log."""
    taken: list[logging.LogRecord] = []

    class Fails(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            taken.append(record)
            raise SystemExit(3)

    log, handler = logging.getLogger("rosterkit.engine"), Fails()
    log.addHandler(handler)
    try:
        for number in range(1, 3):
            session = engine.open_session(BOB, listener=raises)
            engine.send(ALICE, BOB, "hello")
            eventually(lambda number=number: len(taken) >= 3 * number)  # type: ignore[misc]
            session.close()
    finally:
        log.removeHandler(handler)
    assert engine.send(ALICE, CAROL, "hello").outcome == "Stored"


def raises(events: Sequence[rosterkit.Event]) -> None:
    raise ValueError("never")


def test_a_listener_that_only_raises_is_told_why_its_session_ends(engine: rosterkit.Engine) -> None:
    heard: list[rosterkit.Event] = []

    def fails(events: Sequence[rosterkit.Event]) -> None:
        heard.extend(events)
        if not isinstance(events[-1], rosterkit.SessionEnded):
            raise SystemExit(3)

    session = engine.open_session(BOB, listener=fails)
    for number in range(40):
        engine.send(ALICE, BOB, str(number))
    eventually(lambda: rosterkit.SessionEnded(0, "listener-failed") in heard)
    with pytest.raises(rosterkit.Closed):
        session.roster()
    # What was not parked is there for the next one, in order.
    left = texts(list(engine.open_session(BOB).events(timeout=0.5)))
    assert left == [str(number) for number in range(40 - len(left), 40)]


def test_a_listener_that_blocks_delays_only_its_own_session(engine: rosterkit.Engine) -> None:
    stuck, go = threading.Event(), threading.Event()
    heard: list[rosterkit.Event] = []

    def blocks(events: Sequence[rosterkit.Event]) -> None:
        stuck.set()
        go.wait()

    blocked = engine.open_session(BOB, listener=blocks)
    carol = engine.open_session(CAROL, listener=heard.extend)
    engine.send(ALICE, BOB, "hello")
    assert stuck.wait(5)
    slowest = 0.0
    for number in range(50):
        begun = time.monotonic()
        engine.send(ALICE, BOB, "more")
        engine.send(ALICE, CAROL, str(number))
        blocked.presence(BOB)
        slowest = max(slowest, time.monotonic() - begun)
    eventually(lambda: len(texts(heard)) == 50)
    assert slowest < 2
    go.set()
    carol.close()


@pytest.mark.parametrize("lent", [False, True])
def test_the_last_reference_to_everything_is_dropped_inside(lent: bool) -> None:
    """Engine, session and listener refer to each other, and the listener lets go of all of them."""

    class Owner:
        def __init__(self) -> None:
            self.engine: Optional[rosterkit.Engine] = rosterkit.Engine.in_memory(["example.org"])
            for account in (ALICE, BOB):
                self.engine.create_account(account)
            listener = None if lent else self
            self.session: Optional[rosterkit.Session] = self.engine.open_session(BOB, listener=listener)

        def on_events(self, events: Sequence[rosterkit.Event]) -> None:
            self.engine = self.session = None
            gc.collect()
            dropped.set()

    dropped = threading.Event()
    owner = Owner()
    assert owner.engine is not None and owner.session is not None
    there = weakref.ref(owner), weakref.ref(owner.engine), weakref.ref(owner.session)
    if lent:
        threading.Thread(target=owner.session.run, args=(owner,)).start()
    owner.engine.send(ALICE, BOB, "hello")
    del owner
    assert dropped.wait(5)
    eventually(lambda: gc.collect() >= 0 and [ref() for ref in there] == [None] * 3)


def test_an_import_tells_how_far_it_has_come_and_can_be_called_off() -> None:
    with rosterkit.Engine.virtual(["rosterkit.example"]) as world:
        told: list[rosterkit.ImportSummary] = []

        def stops(progress: rosterkit.ImportSummary) -> None:
            told.append(progress)
            if progress.accounts == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            world.import_xep0227(EXPORT, stops)
        assert [progress.accounts for progress in told] == [1, 2, 3]
        with pytest.raises(rosterkit.NotFound):
            world.open_session("alice@rosterkit.example")
        told.clear()
        found = world.import_xep0227(EXPORT, told.append)
        assert found.accounts == len(told) == 12 and told[-1] == found
        assert world.open_session("alice@rosterkit.example").roster().buddies
        with pytest.raises(rosterkit.Conflict, match="nothing was imported"):
            world.import_xep0227(EXPORT)


def test_an_export_comes_back_in(tmp_path: Path) -> None:
    file = tmp_path / "export.xml"
    with rosterkit.Engine.virtual(["rosterkit.example"]) as world:
        world.import_xep0227(EXPORT)
        held = world.export_xep0227(file)
        assert (held.accounts, held.messages) == (12, 40)
        with pytest.raises(rosterkit.Conflict):
            world.export_xep0227(file)
    with rosterkit.Engine.virtual(["rosterkit.example"]) as world:
        found = world.import_xep0227(file)
        assert (found.accounts, found.buddies, found.messages) == (held.accounts, held.buddies, held.messages)
