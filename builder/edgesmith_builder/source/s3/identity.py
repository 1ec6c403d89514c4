"""Keys that are lent for a while instead of being kept in a Secret: what a cloud gives a pod for its service account.

Two ways, by the variables that Amazon's SDKs read too: a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, as EKS injects it
for IAM roles for service accounts, and as MinIO takes it), and a container's own address for credentials
(`AWS_CONTAINER_CREDENTIALS_…`, as EKS Pod Identity and ECS inject it).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio.credentials.credentials import Credentials
from minio.credentials.providers import IamAwsProvider, Provider, WebIdentityProvider
from urllib3.response import BaseHTTPResponse

from edgesmith_builder.errors import BuildError, RequestInvalid, SourceForbidden, SourceUnreachable
from edgesmith_builder.oci import distrust

CURE = "bucket.caBundle of the chart (--bucket-ca of the builder)"
"""Where a private authority of a store belongs."""

_STATUS = re.compile(r"HTTP status code (\d+)$")
_ECS = "http://169.254.170.2"
_CONTAINER = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who lends the keys, and to whom."""

    token_file: str = ""
    """The web identity's token, read again each time; empty for a container's own address."""
    role: str = ""
    """ARN of the role to take on."""
    session: str = ""
    """Name of the session, for the cloud's own log."""
    endpoint: str = ""
    """Where the token is given for keys (STS)."""

    @classmethod
    def read(cls, environment: Mapping[str, str], region: str | None, store: str, *, amazon: bool) -> Identity | None:
        """Read it from the variables; None where there is none.

        Args:
            environment: The variables.
            region: The store's region, where known.
            store: The store's own endpoint: a MinIO is its own STS.
            amazon: Whether the store is Amazon's, which has its STS elsewhere.
        """
        token_file = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE", "")
        if token_file:
            suffix = ".cn" if (region or "").startswith("cn-") else ""
            own = f"https://sts.{region}.amazonaws.com{suffix}" if region else "https://sts.amazonaws.com"
            endpoint = environment.get("AWS_ENDPOINT_URL_STS", "") or (own if amazon else store)
            role, session = environment.get("AWS_ROLE_ARN", ""), environment.get("AWS_ROLE_SESSION_NAME", "")
            return cls(token_file, role, session or "edgesmith-builder", endpoint)
        address = next((environment[name] for name in _CONTAINER if environment.get(name)), None)
        if address is None:
            return None
        # The rest of the address stays out of messages: on ECS, knowing it is enough to be given the keys.
        parts = urlsplit(address)
        return cls(endpoint=f"{parts.scheme}://{parts.hostname}" if parts.scheme else _ECS)

    def __str__(self) -> str:
        who = f"the role {self.role}" if self.role else "the pod's service account"
        return f"the credentials for {who} at {self.endpoint}"


class _Heard(urllib3.PoolManager):
    """A client that keeps the last answer: minio drops the words of one that refuses."""

    def __init__(self, client: urllib3.PoolManager) -> None:
        super().__init__()
        self._client = client
        self.last: BaseHTTPResponse | None = None

    def urlopen(self, method: str, url: str, redirect: bool = True, **options: Any) -> BaseHTTPResponse:  # type: ignore[override]  # noqa: FBT001, FBT002 - as urllib3 has it
        """Ask as the client does."""
        self.last = None
        self.last = self._client.urlopen(method, url, redirect, **options)
        return self.last

    def words(self) -> str:
        """`: the words` of the last answer (STS API reference, "Common Errors"); empty where it holds none."""
        try:
            found = ET.fromstring(self.last.data).find(".//{*}Message") if self.last is not None else None  # noqa: S314 - as minio reads it
        except ET.ParseError:
            return ""
        return f": {' '.join(found.text.split())[:200].rstrip('.')}" if found is not None and found.text else ""


class Lent(Provider):
    """Asks for the keys and keeps them until they end; what goes wrong is said without the token."""

    def __init__(self, identity: Identity, client: urllib3.PoolManager) -> None:
        self._identity = identity
        self._heard = _Heard(client)
        if identity.token_file:
            self._provider: Provider = WebIdentityProvider(
                jwt_provider_func=self._token,
                sts_endpoint=identity.endpoint,
                role_arn=identity.role or None,
                role_session_name=identity.session,
                http_client=self._heard,
            )
        else:
            self._provider = IamAwsProvider(http_client=self._heard)

    def retrieve(self) -> Credentials:
        """The keys, asked for anew where the last ones have ended.

        Raises:
            SourceForbidden: where they are refused.
            SourceUnreachable: where nobody answers, or not as specified.
            RequestInvalid: where the token cannot be read.
        """
        try:
            return self._provider.retrieve()
        except BuildError:
            raise
        except ValueError as error:
            # minio's message quotes the address with the token in it.
            raise self._refusal(_STATUS.search(str(error))) from None
        except (urllib3.exceptions.HTTPError, OSError, AttributeError, KeyError, SyntaxError) as error:
            words = distrust(error, CURE)
            if words is not None:
                raise RequestInvalid(f"{self._identity.endpoint} {words}") from None
            kind = type(getattr(error, "reason", None) or error).__name__
            raise SourceUnreachable(f"{self._identity} cannot be had ({kind}); an answer was expected") from None

    def _token(self) -> dict[str, str]:
        path = self._identity.token_file
        try:
            return {"access_token": Path(path).read_text(encoding="utf-8").strip()}
        except (OSError, UnicodeDecodeError) as error:
            raise RequestInvalid(
                f"AWS_WEB_IDENTITY_TOKEN_FILE is {path!r}, which cannot be read ({type(error).__name__}); "
                "a token was expected in it"
            ) from None

    def _refusal(self, found: re.Match[str] | None) -> BuildError:
        status = int(found[1]) if found else 0
        if 400 <= status < 500 and status != 429:  # noqa: PLR2004 - HTTP's own numbers
            said = f"{status}{self._heard.words()}"
            return SourceForbidden(
                f"{self._identity} were refused ({said}); a role that trusts this service account was expected"
            )
        said = f"the answer was {status}" if status else "the answer holds none"
        return SourceUnreachable(f"{self._identity} cannot be had ({said}); keys were expected")
