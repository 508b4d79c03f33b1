"""The library's log, in Python's."""

from __future__ import annotations

import logging
import os
from typing import Any, Optional

from ._native import call, native

_logger = logging.getLogger("rosterkit.engine")

_LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO, "DEBUG": logging.DEBUG, "TRACE": 5}

_handle: Optional[int] = None
_process = 0


class _Sink(native.LogSink):  # type: ignore[misc]
    def on_record(self, record: Any) -> None:
        try:
            extra = {"rosterkit_target": record.target, "rosterkit_engine": record.engine_id}
            engine = "" if record.engine_id is None else f" (engine {record.engine_id})"
            level = _LEVELS[record.level.name]
            _logger.log(level, "%s: %s%s", record.target, record.text, engine, extra=extra)
        except BaseException as error:
            raise native.CallbackError.Failed(details=type(error).__name__) from None


def set_log_level(level: Optional[int]) -> None:
    """From which level on the library's log goes to the logger `rosterkit.engine`; `None` is nothing.

    Without a call it is `logging.WARNING`, from the first engine on. What is below is filtered before Python is asked.
    """
    global _handle, _process
    if _handle is not None and _process == os.getpid():
        call(native.remove_log_sink, _handle)
    _handle, _process = None, os.getpid()
    if level is None:
        return
    wanted = [name for name, number in _LEVELS.items() if number >= level]
    name = wanted[-1] if wanted else "ERROR"
    _handle = call(native.add_log_sink, _Sink(), native.LogLevel[name], "")


def start() -> None:
    """At the first engine of a process."""
    if _process != os.getpid():
        set_log_level(logging.WARNING)


def stop() -> None:
    """At the end of the interpreter: no thread may call into Python after it."""
    if _process == os.getpid():
        set_log_level(None)
