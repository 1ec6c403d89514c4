"""An OpenID provider of a test's own: it signs tokens, and a server that is told of it can check them."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from played import Answer, Played


def _words(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class OpenId(Played):
    """Its metadata is at `/.well-known/openid-configuration` (OpenID Connect Discovery 1.0), its key beside."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self._answer)
        self._key = folder / "openid.key"
        self._run("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(self._key))

    @property
    def configuration(self) -> str:
        """The address of its metadata."""
        return f"{self.endpoint}/.well-known/openid-configuration"

    def token(self, audience: str, **claims: Any) -> str:
        """A token for a service, good for an hour (RFC 7519, signed by RS256)."""
        now = int(time.time())
        stated = {"iss": self.endpoint, "sub": "builder", "aud": audience, "iat": now, "exp": now + 3600, **claims}
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "1"}, stated]
        text = ".".join(_words(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_words(self._run('dgst', '-sha256', '-sign', str(self._key), stdin=text.encode()))}"

    def _answer(self, request: BaseHTTPRequestHandler) -> Answer:
        if request.path == "/keys":
            modulus = self._run("rsa", "-in", str(self._key), "-noout", "-modulus").decode().strip().partition("=")[2]
            key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "e": "AQAB"}
            return self._json({"keys": [{**key, "n": _words(bytes.fromhex(modulus))}]})
        if request.path != "/.well-known/openid-configuration":
            return Answer(404)
        return self._json(
            {
                "issuer": self.endpoint,
                "authorization_endpoint": f"{self.endpoint}/authorize",
                "token_endpoint": f"{self.endpoint}/token",
                "jwks_uri": f"{self.endpoint}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            }
        )

    @staticmethod
    def _json(document: Any) -> Answer:
        return Answer(body=json.dumps(document).encode(), headers={"Content-Type": "application/json"})

    @staticmethod
    def _run(*words: str, stdin: bytes = b"") -> bytes:
        return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=True, timeout=30).stdout
