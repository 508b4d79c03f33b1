"""What a process was killed over comes again: between getting an element and having finished with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rosterkit
from conftest import ALICE, BOB

#: Finishes with the first message, and is stuck with the second.
READER = """
import asyncio, sys, time
import rosterkit, rosterkit.aio

def handle(event):
    if isinstance(event, rosterkit.MessageReceived):
        print(event.message.text, event.message.id, flush=True)
        if event.message.text == "two":
            time.sleep(600)

def hears(events):
    for event in events:
        handle(event)

if {is_async}:
    async def main():
        async with rosterkit.aio.Engine.open(sys.argv[1], domains=["example.org"]) as engine:
            bob = await engine.open_session("bob@example.org", device="phone")
            async for event in bob.events():
                handle(event)
    asyncio.run(main())
engine = rosterkit.Engine.open(sys.argv[1], domains=["example.org"])
def session(**options):
    return engine.open_session("bob@example.org", device="phone", **options)
{reads}
time.sleep(600)
"""

WAYS = {
    "callback": "bob = session(listener=hears)",
    "lent thread": "session().run(hears)",
    "pull": """
bob = session()
while True:
    for event in bob.next_events(1):
        handle(event)
        bob.ack(event.seq)
""",
    "for": """
for event in session().events():
    handle(event)
""",
    "batches": """
bob = session(read_by_engine=True)
while True:
    for batch in engine.next_batches(1):
        hears(batch.events)
        engine.ack(batch.session_id, batch.events[-1].seq)
""",
    "async for": "",
}


@pytest.mark.parametrize("way", WAYS)
def test_what_a_process_was_killed_over_comes_again(file: Path, way: str) -> None:
    with rosterkit.Engine.open(file, domains=["example.org"]) as engine:
        for account in (ALICE, BOB):
            engine.create_account(account)
        engine.open_session(BOB, device="phone").close()
        sent = [engine.send(ALICE, BOB, text).message_id for text in ("one", "two", "three")]
    code = READER.format(is_async=way == "async for", reads=WAYS[way])
    reader = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    got = [reader.stdout.readline().split() for _ in range(2)]
    reader.kill()
    reader.wait()
    reader.stdout.close()
    assert got == [["one", sent[0]], ["two", sent[1]]]
    with rosterkit.Engine.open(file, domains=["example.org"]) as engine:
        bob = engine.open_session(BOB, device="phone")
        again: list[str] = []
        while again[-1:] != sent[-1:]:
            events = bob.next_events(timeout=5)
            assert events, again
            again += [event.message.id for event in events if isinstance(event, rosterkit.MessageReceived)]
        # What it had finished with may come again too: acknowledgements reach the disk within a second.
        assert again[-2:] == sent[1:] and set(again) <= set(sent)
