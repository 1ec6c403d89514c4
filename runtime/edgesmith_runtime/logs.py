"""Logs: one JSON object a line on standard error. No request's content is ever in them."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["set_up_logging"]

# gRPC's own lines, which are not JSON and repeat what clients sent, go to standard error unless this is set before the
# import.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

_OWN: Final = "edgesmith_runtime"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class _JsonFormatter(logging.Formatter):
    """Writes records so that nothing of a request can be in them.

    Whatever a library says may repeat what it was given, and so may the text of an exception: of the former the
    library's name is written, of the latter its type and where it was raised.
    """

    def format(self, record: logging.LogRecord) -> str:
        own = record.name.split(".")[0] == _OWN
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage() if own else f"{record.name} said something",
        }
        if own:
            entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = record.exc_info[0].__qualname__
            entry["traceback"] = "".join(traceback.format_tb(record.exc_info[2]))
        return json.dumps(entry, ensure_ascii=False, default=str)


def set_up_logging(level: int = logging.INFO) -> None:
    """Send every log record to standard error as one line of JSON; ``extra`` fields become its fields."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
