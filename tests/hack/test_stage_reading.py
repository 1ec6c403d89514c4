"""Reading from an API server over a kept connection: what is asked, what counts as absent, what is a failure."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from authority import Authority

from edgesmith_cluster import kubeconfig
from edgesmith_cluster.certificates import Certificates, Request
from edgesmith_stage.errors import StageError
from edgesmith_stage.kube import Kube

POD = {"metadata": {"name": "one"}}
STAND_IN = '#!/bin/sh\nwhile [ "$1" != get ]; do shift; done\nprintf \'{"items": [{"said": "%s"}]}\' "$*"\n'


@dataclass
class Api:
    """An API server that plays; what it was asked, and by whom over which connection."""

    kube: Kube
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    connections: set[Any] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    """Paths at which the next request ends the connection."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    authority = Authority.make(tmp_path / "authority")
    certificates = Certificates(authority.folder)
    certificates._sign(Request("admin", "the-admin"))
    programs = tmp_path / "kubectl"
    programs.write_text(STAND_IN)
    programs.chmod(0o755)
    played = Api(Kube(tmp_path / "kubeconfig", str(programs), local=True))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            played.asked.append(self.path)
            played.connections.add(self.client_address)
            subject = self.connection.getpeercert()["subject"]
            played.users.add(dict(one for (one,) in subject)["commonName"])
            if self.path in played.silent:
                played.silent.remove(self.path)
                self.close_connection = True
                return
            status, text = played.answers.get(self.path, (404, "404 page not found"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if text.startswith("{") else "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("server"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    text = kubeconfig.render(
        cluster="played",
        server=f"https://127.0.0.1:{server.server_port}",
        authority=authority.file,
        user="admin",
        certificate=certificates.get("admin"),
    )
    kubeconfig.write(played.kube.kubeconfig, text)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield played
    server.shutdown()
    server.server_close()


def test_objects_are_read_where_they_are_over_one_connection(api: Api) -> None:
    labelled = "/api/v1/namespaces/lab/pods?labelSelector=edgesmith.dev%2Fmodel%3Dparts%2Ca%3Db"
    api.answers = {
        "/apis/edgesmith.dev/v1alpha1/namespaces/lab/edgemodels/parts": (200, json.dumps({"kind": "EdgeModel"})),
        labelled: (200, json.dumps({"items": [POD]})),
        "/api/v1/nodes": (200, json.dumps({"items": []})),
        "/api/v1/nodes/edge-1": (200, json.dumps(POD)),
        "/api/v1/pods": (200, json.dumps({"items": [POD, POD]})),
        "/apis/batch/v1/namespaces/default/jobs": (200, json.dumps({"items": []})),
    }
    assert api.kube.get("edgemodel", "parts", "lab") == {"kind": "EdgeModel"}
    assert api.kube.list("pods", "lab", {"edgesmith.dev/model": "parts", "a": "b"}) == [POD]
    assert api.kube.list("nodes", None) == []
    assert api.kube.get("node", "edge-1") == POD
    assert api.kube.list("pods", None) == [POD, POD]
    assert api.kube.list("jobs") == []
    assert api.asked == list(api.answers)
    assert len(api.connections) == 1
    assert api.users == {"the-admin"}


def test_an_object_that_lacks_is_none_and_a_kind_that_lacks_is_a_failure(api: Api) -> None:
    api.answers["/api/v1/namespaces/lab/pods/gone"] = (404, json.dumps({"kind": "Status", "reason": "NotFound"}))
    assert api.kube.get("pod", "gone", "lab") is None
    with pytest.raises(StageError, match="edgemodels/parts with 404: 404 page not found"):
        api.kube.get("edgemodel", "parts", "lab")
    with pytest.raises(StageError, match="with 404"):
        api.kube.list("edgemodels", "lab")


def test_a_refusal_is_told_in_the_servers_words(api: Api) -> None:
    api.answers["/api/v1/nodes"] = (403, json.dumps({"message": "nodes is forbidden"}))
    with pytest.raises(StageError, match=r"GET api/v1/nodes with 403.*nodes is forbidden"):
        api.kube.list("nodes", None)


def test_a_connection_that_broke_is_made_anew_and_a_server_that_is_away_is_said_so(api: Api) -> None:
    path = "/api/v1/nodes/edge-1"
    api.answers[path] = (200, json.dumps(POD))
    assert api.kube.get("node", "edge-1") == POD
    api.silent.add(path)
    assert api.kube.get("node", "edge-1") == POD
    assert (api.asked, len(api.connections)) == ([path] * 3, 2)

    other = json.loads(api.kube.kubeconfig.read_text())
    other["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    api.kube.kubeconfig.write_text(json.dumps(other))
    with pytest.raises(StageError, match=f"did not answer GET {path[1:]}"):
        api.kube.get("node", "edge-1")
    api.kube.kubeconfig.unlink()
    with pytest.raises(StageError, match=r"cannot read .*kubeconfig"):
        api.kube.get("node", "edge-1")


def test_kubectl_reads_other_kinds_and_other_clusters(api: Api) -> None:
    said = api.kube.list("deviceprofiles", None)
    assert said == [{"said": "get deviceprofiles -A -o json"}]
    elsewhere = Kube(api.kube.kubeconfig, api.kube.kubectl)
    assert elsewhere.list("pods", "lab", {"a": "b"}) == [{"said": "get pods -n lab -l a=b -o json"}]
    assert elsewhere.get("pod", "one", "lab") == {
        "items": [{"said": "get pod one -n lab -o json --ignore-not-found"}],
    }
    assert api.asked == []
