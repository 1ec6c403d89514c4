"""Where our server answers otherwise than tritonserver on purpose: the list of docs/runtime.md, with what it allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np


class _Odd:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


NONE: Final = _Odd("nothing")
"""The field is not in the answer."""
ANY: Final = _Odd("anything")


@dataclass(frozen=True)
class Row:
    """What one difference allows.

    Attributes:
        question: Which questions, as a pattern of file names.
        field: Which fields of their answers, likewise.
        ours: What we say there, or a check of both.
        theirs: What tritonserver says.
    """

    question: str
    field: str
    ours: Any
    theirs: Any = ANY

    def allows(self, question: str, field: str, ours: Any, theirs: Any) -> bool:
        """Whether this is the difference of a field."""
        if not (fnmatchcase(question, self.question) and fnmatchcase(field, self.field)):
            return False
        if isinstance(self.ours, Callable):  # type: ignore[arg-type] # it is a class to isinstance
            return bool(self.ours(ours, theirs))
        return _fits(self.ours, ours) and _fits(self.theirs, theirs)


def _fits(expected: Any, found: Any) -> bool:
    if expected is ANY:
        return found is not NONE
    return bool(found is expected if expected is NONE else found == expected and type(found) is type(expected))


def status(question: str, ours: int | str, theirs: int | str) -> Row:
    """Other statuses, or codes over gRPC."""
    return Row(question, "status" if isinstance(ours, int) else "code", ours, theirs)


def refused(question: str, ours: int | str = 400, theirs: int | str = 200) -> list[Row]:
    """We refuse what they answer."""
    return [status(question, ours, theirs), Row(question, "error", ANY, NONE), Row(question, "*", NONE, ANY)]


def answered(question: str, ours: int | str = 200, theirs: int | str = 400) -> list[Row]:
    """We answer what they refuse."""
    return [status(question, ours, theirs), Row(question, "error", NONE, ANY), Row(question, "*", ANY, NONE)]


def _same_words(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, str) and isinstance(theirs, str) and bool(ours) and "\n" not in ours


def _same_floats(ours: Any, theirs: Any) -> bool:
    if not (isinstance(ours, list) and isinstance(theirs, list)):
        return False
    return bool(np.array_equal(np.array(ours, np.float32), np.array(theirs, np.float32)))


_BAD = "INVALID_ARGUMENT"
_OTHER_MODELS = ("types", "typed", "halves", "words", "pairs")

DIFFERENCES: Final[dict[str, list[Row]]] = {
    "An error's sentence is our own, and every error is JSON.": [
        Row("*", "*error", _same_words),
        *(Row(name, "type", "application/json", "text/plain") for name in (
            "page no page", "page a version that is no number", "get of an inference", "bytes that are no text",
            "header length over the body",
            "words that end early", "header length negative", "another encoding", "another*inference",
            "head of no page", "head of an inference",
        )),
    ],
    "Health pages have a JSON body, and a server that is not ready answers 503, not 400. `tritonclient` looks at the "
    "status only.": [
        Row("page *live", "live", True, NONE),
        Row("page *ready", "ready", True, NONE),
        Row("page * ready", "name", "toy", NONE),
        *(Row(name, "type", "application/json", "text/plain") for name in ("page live", "page ready", "page * ready")),
    ],
    "A client's mistake is 400 or INVALID_ARGUMENT, never 500 or INTERNAL.": [
        *(status(name, 400, 500) for name in (
            "index of no JSON", "element *", "* elements", "data that is no list", "binary of a negative size",
            "bytes that are no text", "parameter priority *", "parameter timeout *", "parameter sequence_id -1",
            "parameter sequence_start 1", "parameter binary_data_output 1", "parameters that are a list",
            "classification *", "binary_data of another type", "an id that is a number", "wrong negative size",
            "wrong other datatype", "inputs *", "outputs that are an object", "an input without *", "a body that is *",
            "in chunks, and no JSON",
        )),
        status("another encoding", 400, 501),
        status("gRPC *no message", _BAD, "INTERNAL"),
    ],
    "A model or version that is not there is 404 or NOT_FOUND wherever it is asked for.": [
        status("page another model ready", 404, 400),
        status("page statistics of another *", 404, 400),
        status("gRPC Model* toy x", "NOT_FOUND", _BAD),
        status("gRPC ModelStatistics *", "NOT_FOUND", _BAD),
        status("gRPC ModelReady toy x", "OK", _BAD),
        Row("gRPC ModelReady toy x", "error", NONE, ANY),
    ],
    "`Infinity` and `NaN` never stand in JSON, neither way.": [
        *refused("element over FP32"),
        *refused("a literal NaN"),
        *refused("infinity as JSON", 500),
    ],
    "Numbers of FP32 in JSON have 9 digits and not 17; both read back as the same number.": [
        Row("*", "outputs.*.data", _same_floats),
    ],
    "FP16 and BF16 may be JSON numbers, too.": [
        *(row for name in ("BF16", "FP16") for form in ("to", "of") for row in answered(f"{name} {form} JSON")),
        Row("[BF][FP]16 of JSON", "type", "application/octet-stream", "application/json"),
        Row("[BF][FP]16 to JSON", "type", "application/json", "text/plain"),
    ],
    "`/v2/` is the same as `/v2`.": [
        *answered("page server with a slash", theirs=404),
        Row("page server with a slash", "type", "application/json", "text/plain"),
    ],
    "`HEAD` is answered wherever `GET` is; Triton refuses it.": [
        status("head of a health page", 200, 405),
        status("head of a model", 200, 405),
        Row("head of a health page", "type", "application/json", "text/plain"),
    ],
    "A wrong `Inference-Header-Content-Length` is refused, not taken for 0.": [
        *refused("header length no number"),
        Row("header length no number", "type", "application/json", "application/octet-stream"),
    ],
    "A bare tensor may hold several samples; Triton takes one where the model has a batch.": [
        *answered("bare tensor of two samples"),
        Row("bare tensor of two samples", "type", "application/octet-stream", "application/json"),
    ],
    "A batch may be empty.": answered("no samples"),
    "`binary_data_output` holds for outputs that are named, too, as the extension says; Triton heeds it where none "
    "is.": [
        Row(name, field, ours, theirs)
        for name in ("named outputs where all are binary", "parameter binary_data_output True")
        for field, ours, theirs in (
            ("type", "application/octet-stream", "application/json"),
            ("header length", "given", NONE),
            ("outputs.relu.bytes", ANY, NONE),
            ("outputs.relu.parameters.binary_data_size", 32, NONE),
            ("outputs.relu.data", NONE, ANY),
        )
    ],
    "Answers of less than 1 KiB, and those with binary data, are not compressed.": [
        Row("gzip of a binary answer", "encoding", NONE, "gzip"),
        Row("deflate of a binary answer", "encoding", NONE, "deflate"),
        Row("gzip of little", "encoding", NONE, "gzip"),
        Row("deflate of little", "encoding", NONE, "deflate"),
    ],
    "An output is asked for once, and at most 1,000 classes of it; 0 classes are none over gRPC, too.": [
        *refused("an output twice"),
        *refused("gRPC output twice", _BAD, "OK"),
        *refused("classification 1001"),
        *refused("gRPC classification 1001", _BAD, "OK"),
        *answered("gRPC classification 0", "OK", _BAD),
    ],
    "Nothing is kept between requests, so `sequence_id`, `sequence_start` and `sequence_end` are refused; Triton heeds "
    "them where the model's configuration has a sequence batcher, and otherwise does not.": [
        *(row for name in ("sequence_id 5", "sequence_id 'a'", "sequence_start True", "sequence_end True")
          for row in (*refused(f"parameter {name}"), *refused(f"gRPC parameter {name}", _BAD, "OK"))),
        *refused("gRPC parameter sequence_id -1", _BAD, "OK"),
    ],
    "`timeout` always holds; Triton heeds it where the model's configuration allows.": [
        *refused("parameter timeout 1", 503),
        *refused("gRPC parameter timeout 1", "UNAVAILABLE", "OK"),
        *refused("gRPC parameter timeout -1", _BAD, "OK"),
    ],
    # What answers do not show: `test_differential.py` counts the runs.
    "A stream has one request in flight; Triton has several, and may answer them in another order.": [],
    "There is one model and one version, in one repository without a name: no loading and unloading.": [
        *(Row("*index*", f"{at}{one}.*", NONE, ANY) for at in ("", "models.") for one in _OTHER_MODELS),
        *refused("index of a repository", 404),
        *refused("index of no object"),
        status("*load", 404, 503),
        status("gRPC RepositoryModel*oad", "UNIMPLEMENTED", "UNAVAILABLE"),
    ],
    "There is no shared memory, and traces and the log are not set by request.": [
        *(row for name in ("trace*", "logging", "* memory") for row in refused(f"page {name}", 404)),
        status("register", 404, 500),
        status("output parameter shared_memory_region", 400, 404),
        *(row for name in ("TraceSetting", "LogSettings") for row in refused(f"gRPC {name}", "UNIMPLEMENTED", "OK")),
        *refused("gRPC *Shared*", "UNIMPLEMENTED", "OK")[:2],  # their answer has no field
        status("gRPC SystemSharedMemoryRegister", "UNIMPLEMENTED", "INTERNAL"),
    ],
    "`grpc.health.v1` knows services by name and has `Watch`, and there is server reflection.": [
        *refused("gRPC health of another service", "NOT_FOUND", "OK"),
        *answered("gRPC reflection *", "OK", "UNIMPLEMENTED"),
    ],
    "The server says its own name, version and extensions.": [
        Row(name, field, ours, ANY)
        for name in ("page server", "gRPC ServerMetadata")
        for field, ours in (("name", "edgesmith"), ("version", ANY), ("extensions", ANY))
    ],
    "A model's configuration is its name, platform, backend, `max_batch_size`, inputs and outputs.": [
        Row("page config", "*", NONE, ANY),
        Row("gRPC ModelConfig *", "config.*", NONE, ANY),
    ],
}  # fmt: skip
"""The points of docs/runtime.md's "What differs from Triton", word for word, and what each of them is about."""
