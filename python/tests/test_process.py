"""What concerns the whole process: its end, and the log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import rosterkit
from conftest import ALICE, eventually, run

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
