"""Nothing is left behind: no thread, no descriptor, no memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable

import pytest

import rosterkit
import rosterkit.aio
from conftest import ALICE, eventually, texts

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to count in")

#: What the heap may grow by, in bytes, over all the cycles. One that leaks an engine is over it long before the end.
ROOM = 16 << 20


def threads() -> list[str]:
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:
            pass
    return names


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def nothing_left() -> Iterator[Callable[[], None]]:
    """Call it when it is warm: from there on nothing may be left."""
    before: list[int] = []

    def warm() -> None:
        gc.collect()
        # The thread of the log is there as long as the log is wanted.
        before[:] = len(threads()), len(os.listdir("/proc/self/fd")), resident()

    yield warm
    gc.collect()
    eventually(lambda: len(threads()) <= before[0])
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before[1])
    assert resident() - before[2] < ROOM


class App:
    """Everything refers to everything: the listener to the engine and its session, they to the listener."""

    def __init__(self, engine: rosterkit.Engine) -> None:
        self.engine = engine
        self.heard: list[rosterkit.Event] = []
        self.session = engine.open_session(ALICE, listener=self)

    def on_events(self, events: Sequence[rosterkit.Event]) -> None:
        self.heard.extend(events)


def in_memory(cycles: int) -> None:
    for number in range(cycles):
        engine = rosterkit.Engine.in_memory(["example.org"])
        engine.create_account(ALICE)
        app = App(engine)
        engine.send(ALICE, ALICE, str(number))
        eventually(lambda: texts(app.heard) == [str(number)])
        # Half of them are shut down; the others are let go of, which ends their listeners too.
        if number % 2:
            engine.shutdown()
        else:
            app.session.close()
        del engine, app


def test_a_thousand_engines_whose_listeners_point_back(nothing_left: Callable[[], None]) -> None:
    in_memory(100)
    nothing_left()
    in_memory(1_000)


def test_a_hundred_engines_on_files(tmp_path: Path, nothing_left: Callable[[], None]) -> None:
    def cycle(number: int) -> None:
        with rosterkit.Engine.open(tmp_path / f"{number % 4}.db", domains=["example.org"]) as engine:
            if number < 4:
                engine.create_account(ALICE)
            app = App(engine)
            engine.wakeup_fd()
            engine.send(ALICE, ALICE, str(number))
            eventually(lambda: texts(app.heard)[-1:] == [str(number)])

    for number in range(8):
        cycle(number)
    nothing_left()
    for number in range(8, 108):
        cycle(number)


def test_a_hundred_engines_in_a_loop(nothing_left: Callable[[], None]) -> None:
    async def cycle(number: int) -> None:
        engine = await rosterkit.aio.Engine.in_memory(["example.org"])
        await engine.create_account(ALICE)
        alice = await engine.open_session(ALICE)
        await alice.roster()
        if number % 2:
            await engine.shutdown()

    async def cycles(numbers: range) -> None:
        for number in numbers:
            await cycle(number)

    # One loop each, so that its threads end with it.
    asyncio.run(cycles(range(10)))
    nothing_left()
    asyncio.run(cycles(range(100)))


def ignore(events: Sequence[rosterkit.Event]) -> None:
    pass


def test_ten_thousand_sessions(nothing_left: Callable[[], None]) -> None:
    with rosterkit.Engine.in_memory(["example.org"]) as engine:
        engine.create_account(ALICE)

        def open_and_let_go(count: int) -> None:
            for number in range(count):
                # No more than there may be at once: they are let go of a little later.
                listener = None if number % 20 else ignore
                session = engine.open_session(ALICE, listener=listener)
                if number % 2:
                    session.close()

        open_and_let_go(1_000)
        nothing_left()
        open_and_let_go(10_000)
        # All at once.
        sessions = [engine.open_session(ALICE, reads_messages=False) for _ in range(1_000)]
        assert len({session.id for session in sessions}) == 1_000
        del sessions


def test_no_thread_of_ours_is_left_at_the_end() -> None:
    eventually(lambda: not [name for name in threads() if name.startswith("rosterkit-") and name != "rosterkit-log"])
    rosterkit.set_log_level(None)
    eventually(lambda: not [name for name in threads() if name.startswith("rosterkit")])
    rosterkit.set_log_level(logging.WARNING)
