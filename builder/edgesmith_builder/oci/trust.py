"""Which certificates are believed, and what is said of one that is not."""

from __future__ import annotations

import re
import ssl
from functools import lru_cache
from pathlib import Path

import httpx

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's X509_V_ERR numbers (x509_vfy.h) for a chain that ends in nobody known."""


@lru_cache(maxsize=8)
def trusting(authorities: str | None = None) -> ssl.SSLContext:
    """What a client believes: the public authorities, those of this machine, and some more. Reading them takes 0.1 s.

    Args:
        authorities: Certificates in PEM; text around them is passed over.

    Raises:
        ValueError: in one sentence, where there are none in it.
    """
    context = httpx.create_ssl_context()
    context.load_default_certs()
    if authorities is not None:
        blocks = _PEM.findall(authorities)
        try:
            context.load_verify_locations(cadata="\n".join(blocks))
        except (ssl.SSLError, ValueError):
            raise ValueError(
                f"the certificates of the authorities cannot be read ({len(blocks)} blocks found); "
                "-----BEGIN CERTIFICATE----- and what follows was expected"
            ) from None
    return context


def authorities_in(flag: str, path: Path | None) -> str | None:
    """The certificates in a file that a command line names.

    Raises:
        ValueError: in one sentence, where there are none in it.
    """
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
        trusting(text)
    except (OSError, ValueError) as error:
        raise ValueError(f"{flag} {path} cannot be used ({error}); certificates in PEM were expected") from error
    return text


def distrust(error: BaseException, cure: str) -> str | None:
    """What is said of a certificate that was not believed; None where an error is about something else.

    Args:
        error: What the HTTP client raised.
        cure: Where a private authority's certificate belongs: `registry.caBundle of the chart`.

    Returns:
        The end of a sentence that began with who has the certificate.
    """
    found = _verification(error, set())
    if found is None:
        return None
    if found.verify_code in _UNKNOWN_AUTHORITY:
        wanted = f"the certificate of the authority that signed it was expected in {cure}"
    else:
        wanted = "one that is valid now and made out for this name was expected"
    return f"has a certificate that is not trusted ({found.verify_message.rstrip('.')}); {wanted}"


def _verification(error: BaseException | None, seen: set[int]) -> ssl.SSLCertVerificationError | None:
    """The verification's own error, which clients wrap in different ways."""
    if error is None or id(error) in seen:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return error
    seen.add(id(error))
    inside = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
    for part in inside:
        found = _verification(part, seen) if isinstance(part, BaseException) else None
        if found is not None:
            return found
    return None
