"""Waiting: on a thread that the host lends, interrupted by another, by Ctrl-C, and on a descriptor."""

from __future__ import annotations

import inspect
import select
import signal
import textwrap
import threading
import time
from collections.abc import Sequence
from typing import Callable

import pytest

import rosterkit
from conftest import ALICE, BOB, CAROL, eventually, run, texts
from rosterkit._listening import Adapter

IN_A_LOOP = """
async def main():
    async with rosterkit.aio.Engine.in_memory(["example.org"]) as other:
        await other.create_account("alice@example.org")
        session = await other.open_session("alice@example.org")
        ready()
        {wait}
asyncio.run(main())
"""

#: Every wait, by the function's name.
WAITS = {
    "Session.next_events": "ready(); alice.next_events()",
    "Session.next_events with a timeout": "ready(); alice.next_events(timeout=60)",
    "Session.events": "ready()\nfor _ in alice.events(): pass",
    "Session.run": "ready(); alice.run(print)",
    "Engine.next_answers": "ready(); engine.next_answers()",
    "Engine.next_batches": "ready(); engine.next_batches()",
    "Engine.next_host_events": "ready(); engine.next_host_events()",
    "Relay.next_outgoing": "relay = engine.open_relay(); relay.connect(); ready(); relay.next_outgoing()",
    "PeerLink.take": """
link = engine.open_peer_link(["example.net"])
link.connect()
link.take()
ready()
link.take()
""",
    "PeerLink.carry": """
import socket
ours, theirs = socket.socketpair()
ready()
engine.open_peer_link(["example.net"]).carry(ours)
""",
    "Engine.shutdown": """
def never(events):
    if not stuck.is_set():
        ready()
    stuck.wait()
engine.create_account("bob@example.org")
bob = engine.open_session("bob@example.org", listener=never)
alice.send("bob@example.org", "hello")
try:
    engine.shutdown()
finally:
    stuck.set()
""",
    "Session.run, in its listener": """
def never(events):
    ready()
    time.sleep(60)
engine.send("alice@example.org", "alice@example.org", "hello")
alice.run(never)
""",
    "aio events": IN_A_LOOP.format(wait="async for _ in session.events(): pass"),
    "aio events with a timeout": IN_A_LOOP.format(wait="async for _ in session.events(timeout=60): pass"),
    "aio sleep": IN_A_LOOP.format(wait="await asyncio.sleep(60)"),
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_arrives_in_every_wait(wait: str) -> None:
    body = textwrap.indent(WAITS[wait], "    ")
    code = f"""
import signal
at = []
def interrupted(*_):
    at.append(time.monotonic())
    raise KeyboardInterrupt
if {not wait.startswith("aio")}:
    signal.signal(signal.SIGINT, interrupted)
def waits():
{body}
try:
    waits()
except KeyboardInterrupt:
    print("interrupted", at[0] if at else time.monotonic(), flush=True)
"""
    process = run(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.15)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    answer, errors = process.communicate(timeout=20)
    assert answer.startswith("interrupted "), answer + errors
    # The clock is the same in every process of a machine.
    assert float(answer.split()[1]) - begun < 0.2
    assert process.returncode == 0, errors


def test_every_wait_is_among_them() -> None:
    waits = {
        f"{kind.__name__}.{name}"
        for kind in (rosterkit.Engine, rosterkit.Session, rosterkit.Relay, rosterkit.PeerLink)
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and {"timeout", "wait"} & set(inspect.signature(function).parameters)
    }
    assert waits | {"Session.run", "PeerLink.carry"} <= set(WAITS)


#: Reads while Ctrl-C arrives again and again, wherever Python is at that moment, and goes on each time.
STORM = """
import os, random, signal
armed, sent, seen, interrupts = threading.Event(), [], set(), 0
def sends():
    while not stuck.is_set():
        sent.append(engine.send("alice@example.org", "alice@example.org", "hello").message_id)
        time.sleep(0.0002)
def interrupts_at_any_moment():
    while armed.wait():
        armed.clear()
        time.sleep(random.uniform(0, 0.003))
        os.kill(os.getpid(), signal.SIGINT)
def hears(events):
    for event in events:
        if isinstance(event, rosterkit.MessageReceived):
            seen.add(event.message.id)
sender = threading.Thread(target=sends)
sender.start()
threading.Thread(target=interrupts_at_any_moment, daemon=True).start()
while interrupts < 200:
    try:
        # One at a time: what is done about the last one is over.
        armed.set()
        {reads}
    except KeyboardInterrupt:
        interrupts += 1
stuck.set()
sender.join()
hears(alice.events(timeout=1))
print(len(sent), len(set(sent) - seen))
"""


@pytest.mark.parametrize(
    "reads", ["for event in alice.events(timeout=0.1): hears([event])", "alice.run(hears)"]
)
def test_ctrl_c_loses_nothing_wherever_it_arrives(reads: str) -> None:
    process = run(STORM.format(reads=reads))
    answer, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    sent, missing = map(int, answer.split())
    assert sent > 100 and missing == 0


# ---- a lent thread ----


def test_a_lent_thread_is_called_until_the_session_ends(engine: rosterkit.Engine) -> None:
    bob = engine.open_session(BOB)
    heard: list[rosterkit.Event] = []
    where: set[int] = set()

    def hears(events: Sequence[rosterkit.Event]) -> None:
        where.add(threading.get_ident())
        heard.extend(events)
        if texts(list(events)) == ["two"]:
            bob.close()

    threading.Timer(0.05, lambda: engine.send(ALICE, BOB, "two")).start()
    engine.send(ALICE, BOB, "one")
    bob.run(hears)
    assert texts(heard) == ["one", "two"] and heard[-1] == rosterkit.SessionEnded(0, "requested")
    assert where == {threading.get_ident()}
    with pytest.raises(rosterkit.Closed):
        bob.run(hears)
    # It had not returned from the last one when the session ended.
    assert texts(engine.open_session(BOB).next_events(timeout=5)) == ["two"]


def test_what_raises_on_a_lent_thread_comes_again(world: rosterkit.Engine) -> None:
    for text in ("one", "two"):
        world.send(ALICE, BOB, text)
    bob = world.open_session(BOB)
    calls: list[list[object]] = []

    def fails(events: Sequence[rosterkit.Event]) -> None:
        calls.append(texts(list(events)))
        if "one" in calls[-1]:
            raise ValueError("not this one")

    bob.run(fails)
    assert calls == [["one", "two"], ["one"], ["one"], ["one"], ["two"], []]


def test_a_listener_that_only_raises_ends_the_run(world: rosterkit.Engine) -> None:
    for number in range(40):
        world.send(ALICE, BOB, str(number))
    with pytest.raises(ValueError, match="never"):
        world.open_session(BOB).run(always_raises)


def always_raises(events: Sequence[rosterkit.Event]) -> None:
    raise ValueError("never")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_what_ends_a_program_ends_the_run_and_loses_nothing(
    world: rosterkit.Engine, error: BaseException
) -> None:
    for text in ("one", "two"):
        world.send(ALICE, BOB, text)
    bob = world.open_session(BOB)

    def ends(events: Sequence[rosterkit.Event]) -> None:
        raise error

    with pytest.raises(type(error)):
        bob.run(ends)
    heard: list[rosterkit.Event] = []
    bob.run(heard.extend)
    assert texts(heard) == ["one", "two"]


def test_the_librarys_own_run(engine: rosterkit.Engine) -> None:
    """What other languages use; here Ctrl-C would not arrive in it."""
    bob = engine.open_session(BOB)
    heard: list[rosterkit.Event] = []
    runner = threading.Thread(target=lambda: bob._handle.run(Adapter(heard.extend)))
    runner.start()
    engine.send(ALICE, BOB, "hello")
    eventually(lambda: texts(heard) == ["hello"])
    bob.interrupt()
    runner.join(5)
    assert not runner.is_alive()


def test_nobody_reads_beside_a_lent_thread(engine: rosterkit.Engine) -> None:
    bob = engine.open_session(BOB)
    inside = threading.Event()

    def hears(events: Sequence[rosterkit.Event]) -> None:
        inside.set()

    runner = threading.Thread(target=bob.run, args=(hears,))
    runner.start()
    engine.send(ALICE, BOB, "hello")
    assert inside.wait(5)
    for reads in (lambda: bob.next_events(timeout=0), lambda: bob.run(hears), lambda: next(iter(bob.events()))):
        with pytest.raises(rosterkit.Misuse, match="somebody else"):
            reads()
    bob.interrupt()
    runner.join(5)
    pushed = engine.open_session(BOB, listener=hears)
    with pytest.raises(rosterkit.Misuse, match="its listener"):
        pushed.run(hears)
    with pytest.raises(rosterkit.Misuse, match="its listener"):
        pushed.next_events(timeout=0)


# ---- interrupted ----


def test_an_interrupt_ends_a_wait_or_else_the_next(engine: rosterkit.Engine) -> None:
    bob = engine.open_session(BOB)
    waits: dict[str, tuple[Callable[[], object], Callable[[], None]]] = {
        "next_events": (bob.next_events, bob.interrupt),
        "events": (lambda: list(bob.events()), bob.interrupt),
        "run": (lambda: bob.run(print), bob.interrupt),
        "next_answers": (engine.next_answers, engine.interrupt),
        "next_batches": (engine.next_batches, engine.interrupt),
    }
    for name, (wait, interrupt) in waits.items():
        # The waits of an engine each have their own: what nobody noticed is still there.
        engine.next_answers(timeout=0.01)
        engine.next_batches(timeout=0.01)
        returned = threading.Event()

        def waiting(wait: Callable[[], object] = wait, returned: threading.Event = returned) -> None:
            assert not wait()
            returned.set()

        threading.Thread(target=waiting, daemon=True).start()
        assert not returned.wait(0.15), name
        begun = time.monotonic()
        interrupt()
        assert returned.wait(5) and time.monotonic() - begun < 0.09, "not only at the end of a slice"
        interrupt()
        assert not wait(), name


def test_two_that_wait_are_both_interrupted(engine: rosterkit.Engine) -> None:
    waiting = [threading.Thread(target=engine.next_answers, daemon=True) for _ in range(2)]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)
    engine.interrupt()
    for thread in waiting:
        thread.join(5)
        assert not thread.is_alive()


# ---- many at once ----


def test_the_descriptor_tells_the_level(engine: rosterkit.Engine) -> None:
    poll = select.poll()
    poll.register(engine.wakeup_fd(), select.POLLIN)
    assert engine.wakeup_fd() == engine.wakeup_fd()

    def readable(within: float = 0) -> bool:
        return bool(poll.poll(within * 1000))

    assert not readable()
    engine.submit([rosterkit.commands.read_roster(ALICE)] * 3)
    assert readable(5)
    eventually(lambda: len(engine.next_answers(1)) == 1)
    assert readable(5), "there are more"
    assert readable() and readable(), "looking changes nothing"
    taken = 0
    while taken < 2:
        taken += len(engine.next_answers())
    assert not readable()

    bob = engine.open_session(BOB, read_by_engine=True)
    engine.send(ALICE, BOB, "one")
    assert readable(5)
    [batch] = engine.next_batches()
    assert texts(list(batch.events)) == ["one"]
    assert not readable(), "what is not acknowledged is in hand"
    engine.ack(bob.id, batch.events[-1].seq)
    engine.send(ALICE, BOB, "two")
    engine.submit([rosterkit.commands.read_roster(ALICE)])
    eventually(lambda: len(engine.next_answers()) == 1)
    assert readable(5), "the other has something still"
    engine.shutdown(wait=False)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        assert readable(5), "to the end, and from there on"
        try:
            engine.next_batches(timeout=0)
        except rosterkit.Closed:
            break
    assert readable()


def test_no_descriptor_in_virtual_time(world: rosterkit.Engine) -> None:
    with pytest.raises(rosterkit.Misuse, match="virtual time"):
        world.wakeup_fd()


def test_batches_are_bounded_in_bytes(world: rosterkit.Engine) -> None:
    sessions = [world.open_session(who, read_by_engine=True) for who in (BOB, CAROL)]
    for size in (400, 400, 5_000):
        world.send(ALICE, BOB, "x" * size)
    world.send(ALICE, CAROL, "y" * 600)
    taken = []
    for _ in range(5):
        batches = world.next_batches(timeout=0, max_bytes=1_000)
        taken.append([len(str(text)) for batch in batches for text in texts(list(batch.events))])
    assert sorted(taken, reverse=True)[:3] == [[5_000], [600], [400, 400]], taken
    assert sum(map(sum, taken)) == 6_400
    del sessions
