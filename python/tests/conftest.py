"""What the tests have in common."""

from __future__ import annotations

import faulthandler
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

import rosterkit

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"


@pytest.fixture(autouse=True)
def watchdog() -> Iterator[None]:
    """What hangs says where, and ends."""
    faulthandler.dump_traceback_later(90, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "im.db"


@pytest.fixture
def engine(file: Path) -> Iterator[rosterkit.Engine]:
    """An engine on a file, with three accounts."""
    with rosterkit.Engine.open(file, domains=["example.org"]) as engine:
        for account in (ALICE, BOB, CAROL):
            engine.create_account(account)
        yield engine


@pytest.fixture
def world() -> Iterator[rosterkit.Engine]:
    """The same in virtual time."""
    with rosterkit.Engine.virtual(["example.org"]) as engine:
        for account in (ALICE, BOB, CAROL):
            engine.create_account(account)
        yield engine


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Waits for what another thread brings about."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.005)


def texts(events: list[rosterkit.Event]) -> list[object]:
    return [event.message.body for event in events if isinstance(event, rosterkit.MessageReceived)]


#: Opens an engine, and says when it is about to wait.
PREPARED = """
import asyncio, signal, sys, threading, time
# Whoever runs the tests in the background may have had it ignored, which is handed down.
signal.signal(signal.SIGINT, signal.default_int_handler)
import rosterkit, rosterkit.aio
engine = rosterkit.Engine.in_memory(["example.org"])
engine.create_account("alice@example.org")
alice = engine.open_session("alice@example.org")
stuck = threading.Event()
def ready():
    print("ready", flush=True)
"""


def run(code: str) -> subprocess.Popen[str]:
    """Runs it in another process, behind what is prepared."""
    return subprocess.Popen(
        [sys.executable, "-c", PREPARED + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
