"""Every kind of error is raised, and its text is read."""

from __future__ import annotations

from pathlib import Path

import pytest

import rosterkit
from conftest import ALICE, BOB


def test_invalid_argument(world: rosterkit.Engine) -> None:
    with pytest.raises(rosterkit.InvalidArgument, match="user@domain"):
        world.create_account("example.org")
    with pytest.raises(rosterkit.InvalidArgument, match="'nowhere' is none of online, chat"):
        world.open_session(ALICE).set_presence("nowhere")
    with pytest.raises(rosterkit.InvalidArgument, match="a priority cannot be 1000"):
        world.open_session(ALICE).set_presence("online", priority=1000)
    with pytest.raises(rosterkit.InvalidArgument, match="max is at least 1"):
        world.open_session(ALICE).next_events(0)


def test_not_found(world: rosterkit.Engine) -> None:
    with pytest.raises(rosterkit.NotFound) as caught:
        world.send(ALICE, "nobody@example.org", "hello")
    assert "nobody@example.org" in caught.value.details


def test_forbidden(world: rosterkit.Engine) -> None:
    world.open_session(BOB).block(ALICE)
    with pytest.raises(rosterkit.Forbidden, match="the recipient does not accept this"):
        world.send(ALICE, BOB, "hello")


def test_limit_exceeded() -> None:
    limits = rosterkit.Limits(send_burst=1, sends_per_minute=60, message_bytes=10)
    with rosterkit.Engine.virtual(["example.org"], limits=limits) as world:
        world.create_account(ALICE)
        world.create_account(BOB)
        with pytest.raises(rosterkit.LimitExceeded, match="11 bytes, and at most 10") as caught:
            world.send(ALICE, BOB, "x" * 11)
        assert caught.value.retry_after is None
        world.send(ALICE, BOB, "one")
        with pytest.raises(rosterkit.LimitExceeded) as caught:
            world.send(ALICE, BOB, "two")
        assert caught.value.retry_after is not None and 0 < caught.value.retry_after <= 1
        world.advance(caught.value.retry_after)
        world.send(ALICE, BOB, "two")


def test_conflict(engine: rosterkit.Engine, file: Path) -> None:
    with pytest.raises(rosterkit.Conflict, match="the account exists"):
        engine.create_account(ALICE)
    with pytest.raises(rosterkit.Conflict):
        rosterkit.Engine.open(file, domains=["example.org"])


def test_unreachable(world: rosterkit.Engine) -> None:
    with pytest.raises(rosterkit.Unreachable, match="no relay serves the domain elsewhere.example"):
        world.send(ALICE, "bob@elsewhere.example", "hello")


def test_storage(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 1000)
    with pytest.raises(rosterkit.Storage) as caught:
        rosterkit.Engine.open(broken, domains=["example.org"])
    assert caught.value.details and not caught.value.outcome_unknown
    assert broken.read_bytes() == b"this is no database" * 1000


def test_damaged(tmp_path: Path) -> None:
    path = tmp_path / "im.db"
    for _ in range(2):
        # The second opening moves what the first wrote out of the write-ahead log.
        rosterkit.Engine.open(path, domains=["example.org"]).shutdown()
    damaged = bytearray(path.read_bytes())
    damaged[200] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(rosterkit.Damaged, match="page 1 .* run `rosterkit check"):
        rosterkit.Engine.open(path, domains=["example.org"])


def test_closed(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    world.shutdown()
    world.shutdown()
    for call in (
        lambda: world.create_account("dave@example.org"),
        lambda: alice.send(BOB, "hello"),
        lambda: alice.roster(),
    ):
        with pytest.raises(rosterkit.Closed, match="shut down"):
            call()


def test_misuse(engine: rosterkit.Engine) -> None:
    with pytest.raises(rosterkit.Misuse, match="virtual"):
        engine.advance(1)


def test_internal() -> None:
    world = rosterkit.Engine.virtual(["example.org"])
    world.create_account(ALICE)
    alice = world.open_session(ALICE)
    assert world.failure is None
    with pytest.raises(rosterkit.Internal, match="as planned"):
        world._call(world._handle.panic_for_test, "as planned")
    for call in (lambda: world.create_account(BOB), lambda: alice.roster()):
        with pytest.raises(rosterkit.Internal, match="takes no more work.*as planned"):
            call()
    assert world.failure == "as planned"
    world.shutdown()


def test_every_kind_is_a_rosterkit_error() -> None:
    kinds = [
        rosterkit.InvalidArgument,
        rosterkit.NotFound,
        rosterkit.Forbidden,
        rosterkit.LimitExceeded,
        rosterkit.Conflict,
        rosterkit.Unreachable,
        rosterkit.Storage,
        rosterkit.Damaged,
        rosterkit.Closed,
        rosterkit.Misuse,
        rosterkit.Internal,
    ]
    assert set(kinds) == set(rosterkit.RosterKitError.__subclasses__())
