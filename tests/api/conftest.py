"""One API server for the tier, and a random namespace for each test."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from apiserver import ADMIN, PROGRAMS, ApiServer, running, tools, wait_for
from needs import lacking

from edgesmith.cluster.client import Client
from edgesmith.cluster.connection import connect

ROOT = Path(__file__).resolve().parents[2]
CRDS = sorted((ROOT / "crds").glob("*.yaml"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server with our CRDs."""
    programs = tools()
    if programs is None:
        lacking(f"{', '.join(PROGRAMS)} are not compiled yet: run `make tools`")
    with running(tmp_path_factory.mktemp("api"), programs) as server:
        for crd in CRDS:
            server.kubectl("apply", "--server-side", "-f", str(crd))
        for plural in ("edgemodels", "deviceprofiles"):
            name = f"{plural}.edgesmith.dev"
            server.kubectl("wait", f"crd/{name}", "--for=condition=Established", "--timeout=30s")
        wait_for("the new kinds are served", lambda: "edgemodels" in server.kubectl("api-resources", "-o", "name"))
        yield server


@pytest.fixture
def namespace(server: ApiServer) -> str:
    """A namespace of one test. It is left behind: nobody here would finish its deletion."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    server.kubectl("create", "namespace", name)
    return name


@pytest_asyncio.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    """Our client, as the administrator."""
    async with Client(await connect(str(server.kubeconfig(ADMIN)))) as client:
        yield client
