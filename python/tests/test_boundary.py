"""What is malformed or too much where Python ends and the library begins."""

from __future__ import annotations

from typing import Callable

import pytest

import rosterkit
from conftest import ALICE, BOB, texts
from rosterkit._native import native
from rosterkit.errors import translated


def test_a_text_that_is_no_utf_8_is_refused(world: rosterkit.Engine) -> None:
    """Half a surrogate pair, which Python's texts may have, and no UTF-8 does."""
    alice = world.open_session(ALICE)
    for call in (
        lambda: alice.send(BOB, "half \ud83d"),
        lambda: alice.send("b\udcffb@example.org", "hello"),
        lambda: alice.add_buddy(BOB, name="\udfff"),
        lambda: world.submit([rosterkit.commands.send(ALICE, BOB, "half \ud83d")]),
        lambda: world.create_account("\ud800@example.org"),
    ):
        with pytest.raises(rosterkit.InvalidArgument, match="surrogates not allowed"):
            call()
    assert alice.send(BOB, "whole \U0001f600, \0 too").outcome == "Stored"
    assert texts(world.open_session(BOB).next_events(timeout=0)) == ["whole \U0001f600, \0 too"]


def test_bytes_that_are_no_text_pass_as_they_are(world: rosterkit.Engine) -> None:
    data = rosterkit.Data("application/octet-stream", bytes(range(256)) + b"\xff\xfe\xc3\x28")
    world.open_session(ALICE).send(BOB, data, extensions=b"\xff\x00")
    [event] = world.open_session(BOB).next_events(timeout=0)
    assert isinstance(event, rosterkit.MessageReceived)
    assert event.message.body == data and event.message.extensions == b"\xff\x00"


@pytest.mark.parametrize("size", [1 << 20, 64 << 20])
def test_what_is_too_large_is_refused(world: rosterkit.Engine, size: int) -> None:
    alice = world.open_session(ALICE)
    too_large: list[Callable[[], object]] = [
        lambda: alice.send(BOB, "x" * size),
        lambda: alice.send(BOB, rosterkit.Data("image/png", bytes(size))),
        lambda: alice.send(BOB, "x", extensions=bytes(size)),
    ]
    for call in too_large:
        with pytest.raises(rosterkit.LimitExceeded, match=f"{size}|{size + 1}|{size + 9}"):
            call()
    malformed: list[Callable[[], object]] = [
        lambda: alice.send("x" * size + "@example.org", "hello"),
        lambda: alice.send(BOB, "hello", client_id="x" * size),
        lambda: world.open_session(ALICE, device="x" * size),
    ]
    for call in malformed:
        with pytest.raises(rosterkit.InvalidArgument) as caught:
            call()
        assert len(caught.value.details) < 1_000, "it does not say all of it again"
    assert alice.send(BOB, "and it goes on").outcome == "Stored"


def test_numbers_out_of_range_are_refused(world: rosterkit.Engine) -> None:
    alice = world.open_session(ALICE)
    for call in (
        lambda: alice.ack(1 << 63),
        lambda: alice.ack(-1),
        lambda: world.advance(-1),
        lambda: world.advance(1e30),
        lambda: world.advance(float("nan")),
        lambda: alice.history(limit=1 << 31),
        lambda: alice.history(limit=0),
        lambda: alice.roster(since=-1),
        lambda: world.next_batches(max_bytes=-1, timeout=0),
        lambda: world.open_session(ALICE, lease=-1),
    ):
        with pytest.raises(rosterkit.InvalidArgument):
            call()


def test_another_type_is_pythons_own_error(world: rosterkit.Engine) -> None:
    with pytest.raises(TypeError):
        world.create_account(5)  # type: ignore[arg-type]


def test_an_error_of_a_kind_that_the_wrapper_does_not_know() -> None:
    class Tomorrow(native.RosterKitError):  # type: ignore[misc]
        def __init__(self) -> None:
            self.details = "something new"

    error = translated(Tomorrow())
    assert type(error) is rosterkit.Internal and str(error) == "something new"
