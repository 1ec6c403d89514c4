"""A few calls to the API server with the administrator's certificate, on the standard library."""

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgesmith_cluster.certificates import Certificates
from edgesmith_cluster.errors import ClusterError
from edgesmith_cluster.plan import API_PORT, Plan

_CONFLICT = 409
_NOT_FOUND = 404


@dataclass(frozen=True)
class Api:
    """The API server of one cluster.

    Attributes:
        host: its address.
        credentials: the folder of certificates.
    """

    host: str
    credentials: Path

    @classmethod
    def of(cls, plan: Plan, credentials: Path) -> "Api":
        """Return the API server of a plan."""
        return cls(str(plan.hub), credentials)

    def call(self, method: str, path: str, body: Any = None, *, content: str = "application/json") -> tuple[int, bytes]:
        """Make one call and return the answer's status and body.

        Raises:
            OSError: there was no answer within five seconds.
        """
        certificates = Certificates(self.credentials)
        admin = certificates.get("admin")
        context = ssl.create_default_context(cafile=str(certificates.get("ca").file))
        context.load_cert_chain(admin.file, admin.key)
        connection = http.client.HTTPSConnection(self.host, API_PORT, timeout=5, context=context)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, body=text, headers={"Content-Type": content})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path} broke off: {error!r}") from error
        finally:
            connection.close()

    def ready(self) -> bool:
        """Tell whether the API server says it is ready."""
        try:
            return self.call("GET", "/readyz")[0] == http.client.OK
        except OSError:
            return False

    def get(self, path: str) -> Any:
        """Return an object; None when it is not there or the API server does not answer."""
        try:
            status, body = self.call("GET", path)
        except OSError:
            return None
        return json.loads(body) if status == http.client.OK else None

    def create(self, path: str, body: Any) -> None:
        """Create an object; one that is there already stays as it is.

        Raises:
            ClusterError: the API server refuses.
        """
        self._checked("POST", path, body, _CONFLICT)

    def label(self, node: str, labels: dict[str, str]) -> None:
        """Set labels of a node.

        Raises:
            ClusterError: the API server refuses.
        """
        body = {"metadata": {"labels": labels}}
        self._checked("PATCH", f"/api/v1/nodes/{node}", body, content="application/merge-patch+json")

    def _checked(self, method: str, path: str, body: Any, *allowed: int, content: str = "application/json") -> None:
        try:
            status, answer = self.call(method, path, body, content=content)
        except OSError as error:
            raise ClusterError(f"the API server did not answer {method} {path}: {error}") from error
        if status >= http.client.BAD_REQUEST and status not in allowed:
            raise ClusterError(
                f"the API server answered {method} {path} with {status}", answer.decode(errors="replace")
            )


def ready_nodes(nodes: Any) -> dict[str, bool]:
    """Return which nodes of a NodeList are Ready."""
    return {
        node["metadata"]["name"]: any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in node.get("status", {}).get("conditions", [])
        )
        for node in (nodes or {}).get("items", [])
    }
