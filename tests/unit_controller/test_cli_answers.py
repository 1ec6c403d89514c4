"""What a command says where the API server refuses it, lacks the CRDs, or is something else than one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from edgesmith.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples/digits/edgemodel.yaml"
WHO = "the API server does not know who asks: the token or certificate is wrong or has expired, get another"
NO_CRD = "edgesmith: The cluster has no EdgeModel in edgesmith.dev/v1alpha1; install the chart first.\n"
READING = [
    ["status"],
    ["status", "parts"],
    ["status", "-o", "json"],
    ["status", "--watch"],
    ["history", "parts"],
    ["report", "parts"],
    ["pause", "parts"],
    ["rollback", "parts", "--dry-run"],
]

ASKING = [
    *READING,
    ["plan", "-f", str(EXAMPLE)],
    ["archive", "export", "-f", "a.tar"],
    ["profile", "list", "--cluster"],
]


@asynccontextmanager
async def answering(status: int, text: str) -> AsyncIterator[int]:
    """A server that answers everything alike, and its port."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def run(folder: Path, words: list[str], status: int, text: str) -> int:
    """The exit status of a command that is answered so."""
    async with answering(status, text) as port:
        kubeconfig = folder / "kubeconfig"
        cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "plant"}}
        document = {"clusters": [cluster], "users": [{"name": "u", "user": {}}], "contexts": [context]}
        kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "x"} | document))
        return await asyncio.to_thread(main, [*words, "--kubeconfig", str(kubeconfig)])


@pytest.mark.parametrize(
    "words",
    [*READING, ["plan", "-f", str(EXAMPLE)], ["archive", "export", "-f", "a.tar"], ["profile", "list", "--cluster"]],
)
async def test_who_is_not_known_is_told_to_log_in_again(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(tmp_path, words, 401, '{"kind": "Status", "message": "Unauthorized", "code": 401}') == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.endswith(f" failed: {WHO}")


@pytest.mark.parametrize("words", READING)
async def test_a_cluster_without_the_crds_is_told_to_have_none(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(tmp_path, words, 404, "404 page not found\n") == 1
    assert capsys.readouterr() == ("", NO_CRD)


@pytest.mark.parametrize("words", READING)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<html>Log in</html>", "JSON"),
        ("", "JSON"),
        ('{"items": [', "JSON"),
        ("[]", "an object"),
        ("7", "an object"),
        ('{"kind": "Status"}', "a list of objects"),
        ('{"items": {}}', "a list of objects"),
        ('{"items": [1]}', "a list of objects"),
    ],
)
async def test_what_is_no_api_server_is_called_so(
    words: list[str], text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(tmp_path, words, 200, text) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.endswith(f" answered with something else than {expected}; is it an API server?")


async def test_an_old_servers_empty_list_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(tmp_path, ["status"], 200, '{"kind": "EdgeModelList", "items": null}') == 0
    assert capsys.readouterr().out == "No EdgeModels found in namespace 'plant'.\n"
    assert await run(tmp_path, ["status", "-A"], 200, '{"kind": "EdgeModelList", "items": []}') == 0
    assert capsys.readouterr().out == "No EdgeModels found in any namespace.\n"
