"""What Python costs: `events.py FOLDER` prints `name value unit baseline` for each figure.

The baseline of events is a bare callback: the same library makes the same records and calls the same generated code with
them, from a thread of its own, and there is no engine and no wrapper. That of sends is one after the other.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import rosterkit
from rosterkit._native import native

ROUNDS, EVENTS, SENDS = 5, 20_000, 4_096
SENDER = "alice@example.org"
#: As the other measurements have it.
BODY = "sixty-four bytes of text, which is about what people really say."
MANY = 10**9
LIMITS = rosterkit.Limits(
    send_burst=MANY,
    sends_per_minute=MANY,
    unclaimed_count=MANY,
    unclaimed_bytes=MANY,
    unclaimed_from_one_count=MANY,
    unclaimed_from_one_bytes=MANY,
)


class Bare(native.SessionListener):  # type: ignore[misc]
    """As little as a listener can do."""

    def __init__(self) -> None:
        self.count = 0

    def on_events(self, batch: Any) -> None:
        self.count += len(batch.events)


class Counts:
    def __init__(self) -> None:
        self.count = 0
        self.enough = threading.Event()

    def on_events(self, events: Any) -> None:
        self.count += sum(isinstance(event, rosterkit.MessageReceived) for event in events)
        if self.count >= EVENTS:
            self.enough.set()


def rate(count: int, work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)


def bare(at_once: int) -> float:
    listener = Bare()
    per_second = rate(EVENTS, lambda: native.deliver_for_bench(listener, EVENTS, at_once))
    assert listener.count == EVENTS
    return per_second


def pulled(engine: rosterkit.Engine, account: str, at_once: int) -> float:
    session, listener = engine.open_session(account), Counts()

    def work() -> None:
        while listener.count < EVENTS:
            events = session.next_events(at_once)
            listener.on_events(events)
            session.ack(events[-1].seq)

    return rate(EVENTS, work)


def pushed(engine: rosterkit.Engine, account: str) -> float:
    listener = Counts()

    def work() -> None:
        kept.append(engine.open_session(account, listener=listener))
        listener.enough.wait()

    kept: list[rosterkit.Session] = []
    return rate(EVENTS, work)


def accounts(engine: rosterkit.Engine) -> Iterator[str]:
    """Accounts, each of which has messages waiting."""
    engine.create_account(SENDER)
    number = 0
    while True:
        number += 1
        account = f"bob{number}@example.org"
        engine.create_account(account)
        in_flight(engine, account, EVENTS)
        yield account


def in_flight(engine: rosterkit.Engine, account: str, count: int) -> None:
    """So many sends from one thread, 1,024 under way at once."""
    started = done = 0
    while done < count:
        room = min(1_024 - (started - done), count - started)
        if room:
            commands = [rosterkit.commands.send(SENDER, account, BODY)] * room
            started += len(engine.submit(commands))
        for answered in engine.next_answers(1_024):
            answered.value()
            done += 1


def show(name: str, values: list[float], unit: str, baseline: list[float]) -> None:
    print(name, statistics.median(values), unit, statistics.median(baseline), flush=True)


def events() -> None:
    with rosterkit.Engine.in_memory(["example.org"], limits=LIMITS) as engine:
        waiting = accounts(engine)
        for at_once in (1, 64, 256):
            rounds = [(pulled(engine, next(waiting), at_once), bare(at_once)) for _ in range(ROUNDS)]
            show(f"python_events_{at_once}", [a for a, _ in rounds], "events/s", [b for _, b in rounds])
        rounds = [(pushed(engine, next(waiting)), bare(64)) for _ in range(ROUNDS)]
        show("python_events_64_pushed", [a for a, _ in rounds], "events/s", [b for _, b in rounds])


def sends(folder: Path) -> None:
    with rosterkit.Engine.open(folder / "python.db", domains=["example.org"], limits=LIMITS) as engine:
        for account in (SENDER, "bob@example.org"):
            engine.create_account(account)

        def one_by_one() -> None:
            for _ in range(SENDS // 8):
                engine.send(SENDER, "bob@example.org", BODY)

        def together() -> None:
            in_flight(engine, "bob@example.org", SENDS)

        rounds = [(rate(SENDS, together), rate(SENDS // 8, one_by_one)) for _ in range(ROUNDS)]
        show("python_inflight_1024", [a for a, _ in rounds], "messages/s", [b for _, b in rounds])


def ready() -> None:
    """An IM world in memory: two accounts, two sessions."""

    def world() -> float:
        begun = time.perf_counter()
        with rosterkit.Engine.in_memory(["example.org"]) as engine:
            sessions = []
            for account in (SENDER, "bob@example.org"):
                engine.create_account(account)
                sessions.append(engine.open_session(account))
            took = time.perf_counter() - begun
            assert len(sessions) == 2
        return took

    print("im_world_ready", statistics.median(world() for _ in range(50)) * 1_000, "ms", flush=True)


events()
sends(Path(sys.argv[1]))
ready()
