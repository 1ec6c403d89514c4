"""What is sent to the API server beside the request, and by which way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from edgesmith.cluster.client import Client
from edgesmith.cluster.connection import Connection, connect
from edgesmith.cluster.errors import Unreachable
from edgesmith.cluster.proxy import proxy_of

PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's own."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass
class Recorder:
    """Answers every request with an empty object, and keeps who asked for what."""

    address: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Host and Authorization of each request."""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append((request.headers["Host"], request.headers.get("Authorization")))
        return web.json_response({})


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """A server that takes any request, as a proxy does too."""
    found = Recorder()
    runner = web.ServerRunner(web.Server(found.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        found.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()


async def connected(
    folder: Path,
    server: str,
    *,
    token: str | None = None,
    proxy: str | None = None,
    plugin: tuple[str, ...] | None = None,
) -> Connection:
    """The way that a kubeconfig names."""
    user: dict[str, object] = {"token": token} if token else {}
    if plugin:
        version = "client.authentication.k8s.io/v1"
        user["exec"] = {"apiVersion": version, "command": plugin[0], "args": list(plugin[1:])}
    cluster = {"server": server, **({"proxy-url": proxy} if proxy else {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return await connect(str(path))


@pytest.mark.parametrize(("token", "sent"), [("secret", "Bearer secret"), (None, None)])
async def test_no_password_of_a_netrc_goes_to_the_api_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, sent: str | None
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password elsewhere\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with recording() as server, Client(await connected(tmp_path, server.address, token=token)) as client:
        await client.request("GET", "/version", "asking")
    assert [authorization for _, authorization in server.asked] == [sent]


@pytest.mark.parametrize("by", ["environment", "kubeconfig"])
async def test_a_proxy_is_gone_through_by_the_client_and_by_the_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    async with recording() as proxy:
        if by == "environment":
            monkeypatch.setenv("HTTP_PROXY", proxy.address)
        else:
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        named = proxy.address if by == "kubeconfig" else None
        connection = await connected(tmp_path, "http://api.example.invalid", proxy=named)
        async with Client(connection) as client:
            await client.request("GET", "/version", "asking")
        assert [host for host, _ in proxy.asked] == ["api.example.invalid"]
        assert (await connection.identity()).proxy == proxy.address


@pytest.mark.parametrize(
    ("server", "variables", "proxy"),
    [
        ("https://api.example:6443", {}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://api.example:6443", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "other,.example"}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, None),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "10.1.2.3"}, None),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "localhost, 10.0.0.0/8"}, None),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "10.2.0.0/16"}, "http://p:3128"),
        ("https://[fd00::1]:6443", {"https_proxy": "http://p:3128", "no_proxy": "fd00::/8"}, None),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": "p:3128"}, "http://p:3128"),
    ],
)
def test_the_proxy_is_the_one_that_kubectl_would_take(
    monkeypatch: pytest.MonkeyPatch, server: str, variables: dict[str, str], proxy: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(server) == proxy


@pytest.mark.parametrize("proxy", ["socks5://somebody:secret@p:1080", "http://"])
async def test_a_proxy_that_is_not_known_is_named_without_its_password(tmp_path: Path, proxy: str) -> None:
    with pytest.raises(Unreachable) as refused:
        await connected(tmp_path, "https://api.example:6443", proxy=proxy)
    said = proxy.replace("somebody:secret@", "")
    assert str(refused.value) == (
        f"No cluster: the proxy before https://api.example:6443 is {said}; expected http://HOST:PORT"
    )


@pytest.mark.parametrize("server", ["api.example:6443", "ftp://api.example", "https:", ""])
async def test_a_server_that_is_no_address_is_named(tmp_path: Path, server: str) -> None:
    with pytest.raises(Unreachable) as refused:
        await connected(tmp_path, server)
    assert str(refused.value) == (
        f"No cluster: the kubeconfig {tmp_path}/kubeconfig names the server {server!r}; expected https://HOST:PORT"
    )


CREDENTIAL = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "given"}}'


async def test_a_plugin_gives_the_token(tmp_path: Path) -> None:
    connection = await connected(tmp_path, "https://api.example", plugin=("echo", CREDENTIAL))
    assert (await connection.identity()).token == "given"  # noqa: S105 - it opens nothing


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (
            ("sh", "-c", 'printf "log in:\\n  it\'s over. bye\\377" >&2; exit 3'),
            "exec: process returned 3: log in: it's over. bye\ufffd",
        ),
        (("sh", "-c", "exit 3"), "exec: process returned 3"),
        (("echo", "no JSON"), "exec: failed to decode process output: Expecting value: line 1 column 1 (char 0)"),
        (("nowhere-to-be-found",), "[Errno 2] No such file or directory: 'nowhere-to-be-found'"),
        (
            ("echo", CREDENTIAL.replace("token", "tok")),
            "exec: missing token or clientCertificateData field in plugin output",
        ),
    ],
    ids=["words", "silent", "no JSON", "no program", "no token"],
)
async def test_a_plugin_that_fails_is_one_sentence_and_nothing_is_asked_without_credentials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, plugin: tuple[str, ...], words: str
) -> None:
    with pytest.raises(Unreachable) as raised:
        await connected(tmp_path, "https://api.example", plugin=plugin)
    where = f"No cluster: the kubeconfig {tmp_path / 'kubeconfig'} cannot be used"
    assert str(raised.value) == (
        f"{where} (no credentials from its exec plugin: {words}); set KUBECONFIG or pass --kubeconfig"
    )
    assert caplog.records == []
