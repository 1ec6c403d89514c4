"""The file out of a form, as browsers and ``curl -F`` send it (RFC 7578, RFC 2046 5.1)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from edgesmith_runtime.errors import BadRequest

__all__ = ["FORM_TYPE", "file_of"]

FORM_TYPE: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"\\]{1,70})"|([^\s";]{1,70}))\s*(?:;|$)', re.IGNORECASE)
_FILE_NAME: Final = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_LONGEST_HEAD: Final = 16 * 1024
_MOST_PARTS: Final = 100


def file_of(body: memoryview, content_type: str) -> memoryview:
    """Find the one file of a form; nothing is copied.

    Args:
        body: The request's body.
        content_type: The value of its ``Content-Type``, which names the boundary.

    Raises:
        BadRequest: It is no form, or does not have one file.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadRequest(f"Content-Type is {FORM_TYPE} without a boundary; expected one, as curl -F sends it")
    mark = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    pattern = re.compile(re.escape(mark))
    places = [match.span() for match, _ in zip(pattern.finditer(body), range(_MOST_PARTS + 1), strict=False)]
    files: list[memoryview] = []
    for (_, start), (end, _) in pairwise(places):
        part = body[start:end]
        head = re.match(rb"[ \t]*\r\n((?:[^\r\n]+\r\n)*)\r\n", part[:_LONGEST_HEAD])
        if head is None or bytes(part[-2:]) != b"\r\n":
            raise BadRequest("the form has a part without headers or end; expected one file, as curl -F sends it")
        if _FILE_NAME.search(head[1]):
            files.append(part[head.end() : -2])
    if not places or bytes(body[places[-1][1] : places[-1][1] + 2]) != b"--":
        raise BadRequest("the form has no end, or too many parts; expected one file, as curl -F sends it")
    if len(files) != 1:
        raise BadRequest(f"the form has {len(files)} files; expected one, as curl -F picture=@FILE sends it")
    return files[0]
