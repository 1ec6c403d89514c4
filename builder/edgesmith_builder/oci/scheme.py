"""Whether a registry speaks TLS."""

from __future__ import annotations

import httpx


async def speaks_https(registry: str) -> bool:
    """Whether a TLS server answers at `HOST[:PORT]`; how is its own affair."""
    async with httpx.AsyncClient(timeout=5.0, verify=False) as client:  # noqa: S501 - nothing is sent or believed here
        try:
            await client.get(f"https://{registry}/v2/")
        except httpx.TransportError:
            return False
    return True
