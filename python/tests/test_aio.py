"""The same for asyncio."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import rosterkit
import rosterkit.aio
from conftest import ALICE, BOB, texts


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[rosterkit.aio.Engine]:
    async with rosterkit.aio.Engine.open(file, domains=["example.org"]) as engine:
        await asyncio.gather(engine.create_account(ALICE), engine.create_account(BOB))
        yield engine


def test_a_conversation(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            async with await engine.open_session(ALICE, device="phone") as alice:
                bob = await engine.open_session(BOB)
                await alice.add_buddy(BOB, name="Bob", groups=["Friends"])
                async for event in bob.events(timeout=5):
                    if isinstance(event, rosterkit.BuddyRequested):
                        await bob.confirm_buddy(event.sender)
                        break
                await bob.set_presence("busy")
                await alice.set_presence("online")
                async for event in alice.events(timeout=5):
                    if isinstance(event, rosterkit.PresenceChanged) and event.subject == BOB:
                        assert event.presence.state == "busy"
                        break
                assert [b.name for b in (await alice.roster()).buddies] == ["Bob"]
                assert (await alice.send(BOB, "hello")).outcome is rosterkit.Outcome.DELIVERED
                assert [m.text for m in (await bob.history(ALICE)).messages] == ["hello"]
                with pytest.raises(rosterkit.NotFound):
                    await alice.send("nobody@example.org", "hello")

    asyncio.run(main())


def test_asking_for_the_next_acknowledges(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            alice = await engine.open_session(ALICE)
            for text in ("one", "two", "three"):
                await alice.send(BOB, text)
            bob = await engine.open_session(BOB)
            async for event in bob.events(timeout=5):
                if texts([event]) == ["two"]:
                    break
            again = [event async for event in bob.events(timeout=0.2)]
            assert texts(again) == ["two", "three"]
            bob.close()
            # Somebody who was cancelled while waiting for the next had finished the ones before.
            await alice.send(BOB, "four")
            bob = await engine.open_session(BOB)

            async def reads() -> None:
                async for _ in bob.events():
                    pass

            reader = asyncio.create_task(reads())
            await asyncio.sleep(0.2)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert [event async for event in bob.events(timeout=0.1)] == []
            bob.close()
            bob = await engine.open_session(BOB)
            assert [event async for event in bob.events(timeout=0.1)] == []

    asyncio.run(main())


def test_a_thousand_sends_in_flight_from_one_task(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            alice = await engine.open_session(ALICE)
            receipts = await asyncio.gather(*(alice.send(BOB, f"message {n}") for n in range(1_024)))
            positions = [receipt.position for receipt in receipts]
            assert positions == sorted(set(positions))

    asyncio.run(main())


def test_cancelling_abandons_the_wait_only(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            alice = await engine.open_session(ALICE)
            send = asyncio.ensure_future(alice.send(BOB, "hello"))
            await asyncio.sleep(0)
            send.cancel()
            with pytest.raises(asyncio.CancelledError):
                await send
            bob = await engine.open_session(BOB)
            async for event in bob.events(timeout=5):
                assert texts([event]) == ["hello"]
                break

    asyncio.run(main())


def test_a_session_that_nobody_has_ends(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            one, other = await engine.open_session(ALICE), await engine.open_session(ALICE)
            await one.set_presence("busy")
            assert (await other.presence(ALICE)).state is rosterkit.PresenceState.BUSY
            del one
            gc.collect()
            while (await other.presence(ALICE)).state is rosterkit.PresenceState.BUSY:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(main(), 10))


def test_no_thread_waits_for_the_loop(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            await engine.open_session(ALICE)
            names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
            # Opening is no command, so it was done beside the loop.
            assert all(name.startswith("asyncio_") for name in names), names

    asyncio.run(main())


def test_the_end(file: Path) -> None:
    async def main() -> None:
        async with opened(file) as engine:
            alice = await engine.open_session(ALICE)
            reader = asyncio.ensure_future(alice.events().__anext__())
            await asyncio.sleep(0)
            await engine.shutdown()
            await engine.shutdown()
            assert await reader == rosterkit.SessionEnded(0, "shutdown")
            with pytest.raises(rosterkit.Closed):
                await alice.send(BOB, "hello")
        with rosterkit.Engine.open(file, domains=["example.org"]):
            pass

    asyncio.run(main())
