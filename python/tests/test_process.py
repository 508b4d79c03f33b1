"""What concerns the whole process: Ctrl-C, fork, threads and descriptors, the end, the log."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import rosterkit
from conftest import ALICE, BOB, eventually, texts

#: Opens an engine, and says when it is about to wait.
PREPARED = """
import asyncio, sys, threading, time
import rosterkit, rosterkit.aio
engine = rosterkit.Engine.in_memory(["example.org"])
engine.create_account("alice@example.org")
alice = engine.open_session("alice@example.org")
stuck = threading.Event()
def ready():
    print("ready", flush=True)
"""

WAITS = {
    "next_events": "ready(); alice.next_events()",
    "next_events with a timeout": "ready(); alice.next_events(timeout=60)",
    "events": "ready()\nfor _ in alice.events(): pass",
    "next_answers": "ready(); engine.next_answers()",
    "shutdown": """
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
    "asyncio": """
async def main():
    async with rosterkit.aio.Engine.in_memory(["example.org"]) as other:
        await other.create_account("alice@example.org")
        session = await other.open_session("alice@example.org")
        ready()
        async for _ in session.events():
            pass
asyncio.run(main())
""",
}


def run(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARED + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_arrives_in_every_wait(wait: str) -> None:
    body = textwrap.indent(WAITS[wait], "    ")
    code = f"""
import signal
at = []
def interrupted(*_):
    at.append(time.monotonic())
    raise KeyboardInterrupt
if {wait != "asyncio"}:
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_a_fork_every_call_is_closed(engine: rosterkit.Engine, tmp_path: Path) -> None:
    alice = engine.open_session(ALICE)
    bob = engine.open_session(BOB, listener=lambda events: None)
    answer = tmp_path / "child"
    child = os.fork()
    if child == 0:
        said = []
        for call in (
            lambda: engine.create_account("dave@example.org"),
            lambda: engine.domains(),
            lambda: engine.submit([rosterkit.commands.read_roster(ALICE)]),
            lambda: engine.next_answers(timeout=0),
            lambda: engine.shutdown(),
            lambda: engine.failure,
            lambda: alice.send(BOB, "from the child"),
            lambda: alice.next_events(timeout=0),
            lambda: alice.ack(1),
        ):
            try:
                call()
                said.append("no error")
            except rosterkit.Closed as error:
                said.append("closed" if "fork" in error.details else error.details)
            except BaseException as error:
                said.append(repr(error))
        # Also what the library is told by the collector: nothing of the parent's is dropped.
        del alice._handle, bob._handle, engine._handle
        gc.collect()
        with rosterkit.Engine.in_memory(["child.example"]) as own:
            own.create_account("eve@child.example")
            heard: list[rosterkit.Event] = []
            eve = own.open_session("eve@child.example", listener=heard.extend)
            own.send("eve@child.example", "eve@child.example", "here")
            eventually(lambda: texts(heard) == ["here"])
            eve.close()
        answer.write_text("\n".join(said))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert answer.read_text().split("\n") == ["closed"] * 9
    assert alice.send(BOB, "from the parent").outcome in ("Delivered", "Stored")


def threads() -> list[str]:
    names = []
    for task in Path("/proc/self/task").iterdir():
        try:
            names.append((task / "comm").read_text().strip())
        except OSError:
            pass
    return names


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc to count in")
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    def cycle(number: int) -> None:
        heard: list[rosterkit.Event] = []
        with rosterkit.Engine.open(tmp_path / f"{number % 4}.db", domains=["example.org"]) as engine:
            if number < 4:
                engine.create_account(ALICE)
            alice = engine.open_session(ALICE, listener=heard.extend)
            engine.send(ALICE, ALICE, str(number))
            eventually(lambda: texts(heard)[-1:] == [str(number)])
            del alice

    for number in range(8):
        cycle(number)
    gc.collect()
    # The thread of the log is there as long as the log is wanted.
    before = len(threads()), len(os.listdir("/proc/self/fd"))
    for number in range(8, 208):
        cycle(number)
    gc.collect()
    eventually(lambda: len(threads()) <= before[0])
    assert len(os.listdir("/proc/self/fd")) <= before[1]
    rosterkit.set_log_level(None)
    eventually(lambda: not [name for name in threads() if name.startswith("rosterkit")])
    rosterkit.set_log_level(logging.WARNING)


def test_the_interpreter_ends_cleanly_whatever_is_open() -> None:
    code = """
def listens(events):
    time.sleep(0.05)
bob = engine.open_session("alice@example.org", listener=listens)
for n in range(20):
    alice.send("alice@example.org", str(n))
async def main():
    other = await rosterkit.aio.Engine.in_memory(["example.org"])
    await other.create_account("alice@example.org")
    await other.open_session("alice@example.org")
    return other
kept = asyncio.run(main())
"""
    process = run(code)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_the_log_goes_to_logging(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fails(events: object) -> None:
        # A listener of the log that logs makes no loop.
        raise ValueError("not today")

    with rosterkit.Engine.open(file, domains=["example.org"]) as engine:
        number = engine._call(engine._handle.engine_id)
        engine.create_account(ALICE)
        session = engine.open_session(ALICE, listener=fails)
        engine.send(ALICE, ALICE, "a secret")
        eventually(lambda: "rosterkit.engine" in [record.name for record in caplog.records])
        session.close()
    [first, *_] = [r for r in caplog.records if r.name == "rosterkit.engine"]
    assert first.levelno == logging.WARNING
    assert getattr(first, "rosterkit_engine") == number
    assert "secret" not in first.getMessage() and "not today" not in first.getMessage()
    assert [r for r in caplog.records if r.name == "rosterkit" and r.exc_info]
