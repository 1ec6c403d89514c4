"""The log: JSON, and nothing of a request in it."""

from __future__ import annotations

import json
import logging
import sys

from edgesmith_runtime.logs import _JsonFormatter


def written(name: str, message: str, *arguments: object, failure: Exception | None = None) -> dict[str, str]:
    information = None
    if failure is not None:
        try:
            raise failure
        except type(failure):
            information = sys.exc_info()
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, arguments, information)
    entry: dict[str, str] = json.loads(_JsonFormatter().format(record))
    return entry


def test_a_line_of_our_own_is_written() -> None:
    assert written("edgesmith_runtime.serve", "draining %d", 3)["message"] == "draining 3"


def test_what_libraries_say_is_not() -> None:
    entry = written("grpc._common", "Invalid encoding on %s", b"secret")
    assert entry["message"] == "grpc._common said something"
    assert "secret" not in json.dumps(entry)


def test_an_exceptions_text_is_not() -> None:
    entry = written("edgesmith_runtime.rpc", "call failed", failure=ValueError("could not read 'secret'"))
    assert entry["exception"] == "ValueError"
    assert "test_logs.py" in entry["traceback"]
    assert "secret" not in json.dumps(entry)
