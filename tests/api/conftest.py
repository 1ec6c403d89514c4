"""One control plane for the tier, and a random namespace for each test."""

from __future__ import annotations

import contextlib
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from apiserver import ADMIN, ApiServer, wait_for
from control_plane import PROGRAMS, api_server, controllers, tools
from kubelets import Kubelets
from needs import lacking
from operator_process import Operator, registry

from edgesmith.cluster.client import Client
from edgesmith.cluster.connection import connect

ROOT = Path(__file__).resolve().parents[2]
CRDS = sorted((ROOT / "crds").glob("*.yaml"))


@contextlib.contextmanager
def _cluster(folder: Path) -> Iterator[ApiServer]:
    """An API server with our CRDs, and the controllers and the scheduler at work, while the block runs."""
    programs = tools()
    if programs is None:
        lacking(f"{', '.join(PROGRAMS)} are not compiled yet: run `make tools`")
    with api_server(folder, programs) as server:
        for crd in CRDS:
            server.kubectl("apply", "--server-side", "-f", str(crd))
        for plural in ("edgemodels", "deviceprofiles"):
            name = f"{plural}.edgesmith.dev"
            server.kubectl("wait", f"crd/{name}", "--for=condition=Established", "--timeout=30s")
        wait_for("the new kinds are served", lambda: "edgemodels" in server.kubectl("api-resources", "-o", "name"))
        with controllers(server):
            yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server with our CRDs, and the controllers and the scheduler at work."""
    with _cluster(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(scope="module")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """That of another cluster, for the tests of one module: the same programs over an etcd of their own."""
    with _cluster(tmp_path_factory.mktemp("second")) as server:
        yield server


@pytest.fixture(scope="session")
def _every_kubelet(server: ApiServer) -> Iterator[Kubelets]:
    with Kubelets(server) as kubelets:
        yield kubelets


@pytest.fixture
def kubelets(_every_kubelet: Kubelets) -> Iterator[Kubelets]:
    """The kubelets of the nodes that one test adds; the nodes go with the test."""
    yield _every_kubelet
    _every_kubelet.check()
    for node in _every_kubelet.server.items("nodes"):
        _every_kubelet.remove(node["metadata"]["name"])


@pytest.fixture
def namespace(server: ApiServer) -> Iterator[str]:
    """A namespace of one test, where pods can be made; the namespace controller empties it afterwards."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    server.create("namespaces", {"metadata": {"name": name}})
    wait_for("the namespace has its ServiceAccount", lambda: server.get("serviceaccounts", "default", name))
    yield name
    # First, for the operators of other tests: a namespace that goes takes its time.
    for model in server.items("edgemodels", name):
        server.delete("edgemodels", model["metadata"]["name"], name)
    server.delete("namespaces", name)


@pytest.fixture(scope="session")
def images(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry."""
    with registry(server.programs, tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def operator(server: ApiServer, namespace: str, images: str, tmp_path: Path) -> Iterator[Operator]:
    """An operator, to be started by the test."""
    operator = Operator(server, namespace, images, tmp_path / "operator.log")
    yield operator
    if operator.process is not None:
        operator.end(signal.SIGKILL)


@pytest_asyncio.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    """Our client, as the administrator."""
    async with Client(await connect(str(server.kubeconfig(ADMIN)))) as client:
        yield client
