"""A process that forks under load: the child has nothing, the parent loses nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rosterkit
from conftest import ALICE, BOB, eventually, texts

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")

#: Several threads send, submit, read, listen and log while the main one forks. A child calls everything, drops
#: everything and ends as a program ends.
UNDER_LOAD = """
import gc, logging, multiprocessing, os, sys, threading, time, weakref
import rosterkit

# Not to a file: its buffer's own lock would hang the child, which is Python's matter.
logging.getLogger().addHandler(logging.NullHandler())
FORKS, ALICE, BOB = 25, "alice@example.org", "bob@example.org"
free = rosterkit.Limits(send_burst=10**9, sends_per_minute=10**9, unclaimed_count=10**9, unclaimed_bytes=10**9,
    unclaimed_from_one_count=10**9, unclaimed_from_one_bytes=10**9)
engine = rosterkit.Engine.open(sys.argv[1], domains=["example.org"], limits=free)
for account in (ALICE, BOB, "carol@example.org", "dave@example.org"):
    engine.create_account(account)
over, sent = threading.Event(), []

def sends():
    while not over.is_set():
        sent.append(engine.send(ALICE, BOB, "plain").message_id)

def submits():
    while not over.is_set():
        tickets = engine.submit([rosterkit.commands.send(ALICE, BOB, "submitted")] * 64)
        while tickets:
            for answered in engine.next_answers(64, timeout=5):
                sent.append(answered.value().message_id)
                tickets.remove(answered.ticket)

def reads():
    while not over.is_set():
        for event in carol.next_events(timeout=0.5):
            carol.ack(event.seq)

def talks():
    while not over.is_set():
        engine.send(ALICE, "carol@example.org", "to who reads")
        engine.send(ALICE, "dave@example.org", "to who listens, and fails, which is logged")

def fails(events):
    raise ValueError("no")

def hears(events):
    pass

carol = engine.open_session("carol@example.org")
dave = engine.open_session("dave@example.org", listener=fails)
bob = engine.open_session(BOB, read_by_engine=True, reads_messages=False)
descriptor = engine.wakeup_fd()
relay = engine.open_relay()
relay.connect()
link = engine.open_peer_link(["example.net"])
link.connect()
threads = [threading.Thread(target=run) for run in (sends, submits, reads, talks)]

def calls_everything():
    for call in (
        lambda: engine.create_account("eve@example.org"),
        lambda: engine.domains(),
        lambda: engine.import_xep0227("/nowhere", print),
        lambda: engine.open_session(ALICE),
        lambda: engine.open_session(ALICE, listener=hears),
        lambda: engine.send(ALICE, BOB, "from the child"),
        lambda: engine.submit([rosterkit.commands.read_roster(ALICE)]),
        lambda: engine.next_answers(),
        lambda: engine.next_batches(),
        lambda: engine.interrupt(),
        lambda: engine.wakeup_fd(),
        lambda: engine.ack(bob.id, 1),
        lambda: engine.failure,
        lambda: engine.shutdown(),
        lambda: carol.send(BOB, "from the child"),
        lambda: carol.roster(),
        lambda: carol.next_events(),
        lambda: next(carol.events()),
        lambda: carol.run(hears),
        lambda: carol.interrupt(),
        lambda: carol.ack(1),
        lambda: carol.fail(),
        lambda: dave.next_events(),
        lambda: engine.open_relay(),
        lambda: engine.open_peer_link(["example.com"]),
        lambda: relay.connect(),
        lambda: relay.next_outgoing(),
        lambda: relay.interrupt(),
        lambda: relay.settle("x"),
        lambda: relay.close(),
        lambda: link.take(),
        lambda: link.feed(b"x"),
        lambda: link.state,
    ):
        try:
            call()
        except rosterkit.Closed as error:
            if "fork" not in error.details:
                raise
        else:
            raise AssertionError("it was not closed")
    carol.close()
    with relay, link:
        pass

def child():
    global engine, carol, dave, bob, relay, link
    calls_everything()
    # What the parent's threads were calling is held by what is left of their stacks; everything else is collected.
    there = [weakref.ref(handle) for handle in (dave, dave._handle, bob, bob._handle, relay, relay._handle, link, link._handle)]
    del engine, carol, dave, bob, relay, link
    gc.collect()
    left = [ref() for ref in there if ref() is not None]
    if left:
        raise AssertionError(f"not collected: {left}")

def wait_for(pid):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, 6)
    os.waitpid(pid, 0)
    return "it hangs"

for thread in threads:
    thread.start()
codes = []
for number in range(FORKS):
    time.sleep(0.01)
    pid = os.fork()
    if pid == 0:
        threads.clear()
        child()
        # As a program ends: what is registered for the end runs, what is left is collected.
        sys.exit(17)
    codes.append(wait_for(pid))
for number in range(5):
    worker = multiprocessing.get_context("fork").Process(target=child)
    worker.start()
    worker.join(20)
    codes.append(worker.exitcode)
before = len(sent)
time.sleep(0.2)
goes_on = len(sent) > before
over.set()
for thread in threads:
    thread.join()
engine.shutdown()
assert codes == [17] * FORKS + [0] * 5, codes
assert goes_on, "the parent stands still"
print(len(sent), len(set(sent)), flush=True)
"""


def test_forks_under_load(file: Path) -> None:
    parent = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", UNDER_LOAD, str(file)],
        capture_output=True,
        text=True,
        timeout=80,
    )
    assert parent.returncode == 0, parent.stderr
    sent, different = map(int, parent.stdout.split())
    assert sent == different > 100
    # The file is whole, and has every message once.
    with rosterkit.Engine.open(file, domains=["example.org"]) as engine:
        bob = engine.open_session(BOB)
        seen: list[str] = []
        at = None
        while True:
            page = bob.history(ALICE, beside=at, newer=at is not None, limit=1_000)
            if at is None:
                page = bob.history(ALICE, at_time_ms=0, newer=True, limit=1_000)
            seen.extend(message.id for message in page.messages)
            if page.complete:
                break
            at = page.messages[-1].position
        assert len(seen) == len(set(seen)) == sent


class Keeps(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def raises(events: object) -> None:
    raise ValueError("no")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_of_an_idle_process_may_open_an_engine_of_its_own(engine: rosterkit.Engine, tmp_path: Path) -> None:
    listened = engine.open_session(BOB, listener=lambda events: None)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with rosterkit.Engine.open(tmp_path / "child.db", domains=["child.example"]) as own:
                own.create_account("eve@child.example")
                heard: list[rosterkit.Event] = []
                eve = own.open_session("eve@child.example", listener=heard.extend)
                own.send("eve@child.example", "eve@child.example", "here")
                eventually(lambda: texts(heard) == ["here"])
                eve.close()
                # Its log too is its own: the parent's thread that hands records over is not there.
                logged: list[logging.LogRecord] = []
                logging.getLogger("rosterkit.engine").addHandler(Keeps(logged))
                again = own.open_session("eve@child.example", listener=raises)
                own.send("eve@child.example", "eve@child.example", "again")
                eventually(lambda: len(logged) > 0)
                again.close()
            rosterkit.set_log_level(None)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert engine.send(ALICE, BOB, "from the parent").outcome in ("Delivered", "Stored")
    listened.close()
