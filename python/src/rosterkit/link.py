"""Peer links: the relay that comes with the library."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass
from typing import Any, Optional

from ._native import Owner
from ._waiting import SLICE_MS, Interrupts, in_slices
from .errors import Closed, InvalidArgument, Misuse, RosterKitError

#: How many bytes are carried at once.
_PIECE = 65_536


@dataclass(frozen=True)
class LinkState:
    """How a link is.

    `peer_domains` is what the other side said it hosts, which gives it no right; `last_error` why the last connection ended,
    when it was not the host that ended it. `restored_from_backup`: the other side has seen more of this file than it holds.
    """

    is_connected: bool
    peer_domains: tuple[str, ...]
    restored_from_backup: bool
    last_error: Optional[str]


class PeerLink(Owner):
    """This engine and another one, joined over any ordered pipe of bytes. The host supplies and authenticates the pipe.

    It has one connection at a time. When the pipe breaks, the next one goes on where that one was: nothing is lost by it.
    """

    def __init__(self, handle: Any, is_virtual: bool) -> None:
        super().__init__()
        self._handle = handle
        self._is_virtual = is_virtual

    def __enter__(self) -> PeerLink:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close()
        except Closed:
            # A fork leaves the block as well, and has nothing to close.
            pass

    def connect(self) -> None:
        """Begins a connection; one that was there ends."""
        self._call(self._handle.connect)

    def disconnect(self) -> None:
        """Ends the connection, if there is one. What was sent and not settled is sent again by the next."""
        self._call(self._handle.disconnect)

    def feed(self, data: bytes) -> None:
        """Takes bytes from the pipe.

        `InvalidArgument` when they are none of the protocol's, `Closed` when the other side ended the connection: send what
        `take` still has, close the pipe, and connect again.
        """
        self._call(self._handle.feed, data)

    def take(self, max_bytes: int = _PIECE, timeout: Optional[float] = None) -> bytes:
        """Gives bytes for the pipe, waiting for the first; empty when there are none in time, or no connection."""

        def some(ms: int) -> list[bytes]:
            data: bytes = self._call(self._handle.take, max_bytes, ms)
            # Without a connection there is nothing to wait for: the empty one ends the wait.
            return [data] if data or ms and not self.state.is_connected else []

        taken: list[bytes] = in_slices(some, timeout, self._is_virtual, Interrupts())
        return b"".join(taken)

    def carry(self, pipe: socket.socket) -> None:
        """Carries one connection over a connected socket, on this thread and one more, until either side ends it.

        Closes the socket. Raises `InvalidArgument` when what comes is not the protocol's. `disconnect` ends it from elsewhere.
        """
        self.connect()
        writer = threading.Thread(target=self._write, args=(pipe,), name="rosterkit-link", daemon=True)
        writer.start()
        try:
            while True:
                data = pipe.recv(_PIECE)
                if not data:
                    break
                self.feed(data)
        except (OSError, Closed, Misuse):
            # It is over: the pipe broke, the other side said so, or somebody here did.
            pass
        except InvalidArgument:
            # The other side is told, by what `take` still has.
            writer.join()
            raise
        finally:
            try:
                self.disconnect()
            except RosterKitError:
                pass
            writer.join()
            pipe.close()

    def _write(self, pipe: socket.socket) -> None:
        try:
            while True:
                data: bytes = self._call(self._handle.take, _PIECE, SLICE_MS)
                if data:
                    pipe.sendall(data)
                elif not self.state.is_connected:
                    break
        except (OSError, RosterKitError):
            pass
        try:
            # Whoever reads on this side wakes.
            pipe.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    @property
    def state(self) -> LinkState:
        """How it is."""
        given = self._call(self._handle.state)
        return LinkState(
            given.is_connected, tuple(given.peer_domains), given.restored_from_backup, given.last_error
        )

    def close(self) -> None:
        """Closes the link for good: its domains are unreachable from here on. Idempotent."""
        self._call(self._handle.shutdown)
