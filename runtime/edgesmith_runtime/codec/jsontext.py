"""JSON that can always be written, and is read without holding up the process."""

from __future__ import annotations

import gc
import json
import threading
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn

from edgesmith_runtime.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_CONTAINERS", "alone", "json_bytes", "parsed"]

MOST_CONTAINERS: Final = 2**18
"""The most lists and objects in a request: each takes some 100 bytes of memory for 2 of JSON."""

_LONG: Final = 64 * 1024
_working: Final = threading.Lock()
_CROWD: Final = nullcontext()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON; send such values as binary data")


def _float(text: str) -> float:
    return float(text)


def _int(text: str) -> int:
    return int(text)


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=repr)
_SHORT_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
# Python's own reader lets no other thread run until it is through, some 0.4 s for 8 MiB. Between two calls of functions
# that are written in Python others may.
_LONG_DECODER: Final = json.JSONDecoder(parse_float=_float, parse_int=_int, parse_constant=_refuse_constant)


def json_bytes(document: Any) -> bytes:
    r"""Write a document of the server's own as JSON in UTF-8. Text in it may be anything.

    A lone surrogate, which UTF-8 cannot carry, becomes the escape that JSON has for it (``\ud800``, RFC 8259 §8.2):
    that is how it came. What JSON has no form for becomes its name in Python.
    """
    return _ENCODER.encode(document).encode("utf-8", "backslashreplace")


def alone(length: int) -> AbstractContextManager[None]:
    """Work on a JSON text while no other long one is worked on, with the collector of cyclic garbage off.

    One thread of Python runs at a time, so that waiting costs nothing; it leaves the event loop every second turn.
    There are no cycles in JSON, and the collector would look at all of it over and over.

    Args:
        length: How long the text is in bytes; a short one needs no such care.
    """
    return _alone() if length >= _LONG else _CROWD


@contextmanager
def _alone() -> Iterator[None]:
    with _working:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


def parsed(text: memoryview) -> Any:
    """Read a client's JSON.

    Raises:
        BadRequest: It is not JSON, not UTF-8, nested too deeply, or has more than `MOST_CONTAINERS` lists and objects.
    """
    data = bytes(text)
    # Those in strings are counted too: telling them apart would take as long as reading.
    if data.count(b"[") + data.count(b"{") > MOST_CONTAINERS:
        raise BadRequest(
            f"the JSON has more than {MOST_CONTAINERS} lists and objects; expected flat lists of data, or binary data"
        )
    try:
        decoder = _SHORT_DECODER if len(data) < _LONG else _LONG_DECODER
        return decoder.decode(str(data, "utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"the JSON is not UTF-8 at byte {error.start}; send binary tensors with their JSON's length in "
            "Inference-Header-Content-Length"
        ) from error
    except RecursionError as error:
        raise BadRequest("the JSON is nested too deeply; expected an inference request") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
