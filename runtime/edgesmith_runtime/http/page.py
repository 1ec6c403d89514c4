"""The page for people at ``/``: one file, nothing from elsewhere, and no script but its own."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from edgesmith_runtime.http.messages import Response

__all__ = ["front_page"]

_FILE: Final = Path(__file__).with_name("page.html")
_TYPE: Final = "text/html; charset=utf-8"
_NAME: Final = '<meta name="model" content="">'


def front_page(model: str) -> Response:
    """Answer with the page.

    Args:
        model: The model's name: letters, digits, ``.``, ``_`` and ``-``; empty while it is not loaded.
    """
    text, headers = _read()
    return Response(
        HTTPStatus.OK, [text.replace(_NAME, f'<meta name="model" content="{model}">').encode()], _TYPE, headers
    )


@cache
def _read() -> tuple[str, tuple[tuple[str, str], ...]]:
    """The page, and headers that let a browser run what is in it and nothing else.

    https://www.w3.org/TR/CSP3/ describes the policy: a script or style is named by its digest.
    """
    text = _FILE.read_text(encoding="utf-8")
    digests = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"
            for inner in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src {digests['script']}; style-src {digests['style']}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, (
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
    )
