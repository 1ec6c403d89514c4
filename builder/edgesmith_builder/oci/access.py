"""How a client answers a registry that asks who it is.

The bearer flow is that of the distribution project's token specification: 401 with `WWW-Authenticate: Bearer
realm=…,service=…,scope=…`, a GET to the realm with the login as basic authentication, and the token from its answer;
with an identity token, a POST that exchanges it as OAuth 2 does (`oauth.md` of the same).
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from edgesmith_builder.oci.answers import no_answer, refusal
from edgesmith_builder.oci.auth import Login, Logins
from edgesmith_builder.oci.challenge import Challenge
from edgesmith_builder.oci.content import parsed
from edgesmith_builder.oci.errors import RegistryForbidden, RegistryRefused
from edgesmith_builder.oci.reference import Repository

_CLIENT = "edgesmith-builder"
"""Who we are, for a token service's log."""


class Access:
    """What was said to get into each repository, and how more is got."""

    def __init__(self, client: httpx.AsyncClient, logins: Logins, *, secure: bool) -> None:
        self._client = client
        self._logins = logins
        self._secure = secure
        self._authorization: dict[Repository, str] = {}

    def header(self, repository: Repository) -> str | None:
        """The Authorization header for a repository; None before anybody asked."""
        return self._authorization.get(repository)

    def forget(self, repository: Repository) -> None:
        """Ask anew next time: a token that was made for more than one repository may open neither."""
        self._authorization.pop(repository, None)

    def hint(self, repository: Repository) -> str:
        """Why there is no login for a repository, where the credentials say so, as ` (…)`; empty otherwise."""
        words = self._logins.elsewhere(repository)
        return f" ({words})" if words else ""

    async def answer(self, repository: Repository, headers: Sequence[str], *, tokens: bool = True) -> bool:
        """Get what the registry asks for, by the first way that can be gone: a token, else the login itself.

        Args:
            repository: Which the request was about.
            headers: The `WWW-Authenticate` headers.
            tokens: Whether a token may be the answer; not where the one just fetched was refused.

        Returns:
            Whether there is something new to send.

        Raises:
            RegistryError: of the fitting kind, where a token was refused and there is no other way.
        """
        login = self._logins.login(repository)
        offered = Challenge.parse(headers)
        basic = any(one.scheme == "basic" for one in offered) and login is not None and login.has_password
        for challenge in offered:
            if tokens and challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                try:
                    self._authorization[repository] = "Bearer " + await self._token(repository, challenge, login)
                except (RegistryForbidden, RegistryRefused):
                    if not basic:
                        raise
                else:
                    return True
        if not basic or login is None or self._authorization.get(repository) == login.basic():
            return False
        self._authorization[repository] = login.basic()
        return True

    async def _token(self, repository: Repository, challenge: Challenge, login: Login | None) -> str:
        realm = self._realm(repository, challenge)
        what = f"asking {realm.host} for a token"
        try:
            response = await self._ask(realm, challenge, login)
        except httpx.RequestError as error:
            raise no_answer(repository, what, error) from error
        if response.status_code != httpx.codes.OK:
            raise refusal(repository, what, response, response.content, hint=self.hint(repository))
        try:
            data = parsed(response.content)
            token = data.get("token") or data.get("access_token")
        except (ValueError, AttributeError):
            token = None
        if not isinstance(token, str) or not token:
            raise RegistryRefused(f"{repository}: {realm.host} answered without a token when {what}")
        return token

    def _realm(self, repository: Repository, challenge: Challenge) -> httpx.URL:
        try:
            realm = httpx.URL(challenge.parameters["realm"])
        except httpx.InvalidURL:
            realm = httpx.URL("")
        if realm.scheme not in ("http", "https") or not realm.host:
            raise RegistryRefused(f"{repository} names no address to ask for a token; an https realm was expected")
        if realm.scheme != "https" and self._secure:
            raise RegistryRefused(
                f"{repository} wants its login sent to {realm.host} without TLS; an https realm was expected"
            )
        return realm

    async def _ask(self, realm: httpx.URL, challenge: Challenge, login: Login | None) -> httpx.Response:
        service = challenge.parameters.get("service", "")
        scopes = challenge.parameters.get("scope", "").split()
        if login is not None and login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": _CLIENT}
            wanted = {"service": service, "scope": " ".join(scopes)}
            return await self._client.post(realm, data=form | {name: value for name, value in wanted.items() if value})
        query = {"service": [service] if service else [], "scope": scopes}
        headers = {"Authorization": login.basic()} if login is not None else {}
        return await self._client.get(realm.copy_merge_params(query), headers=headers)
