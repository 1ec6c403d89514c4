"""A cluster as its user sees it: through kubectl; what is only read of the local cluster, over a kept connection."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgesmith_stage.errors import StageError
from edgesmith_stage.reading import Object, reader_of, reads
from edgesmith_stage.shell import run

__all__ = ["Kube", "Object"]


@dataclass(frozen=True)
class Kube:
    """kubectl with one kubeconfig."""

    kubeconfig: Path
    kubectl: str = "kubectl"
    local: bool = False
    """Whether the kubeconfig is that of the local cluster, which holds its certificates: then kubectl does not read."""

    def __call__(self, *words: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl and return what it prints.

        Raises:
            StageError: kubectl failed, with its own words.
        """
        return run([self.kubectl, "--kubeconfig", self.kubeconfig, *words], stdin=stdin, timeout=timeout)

    def get(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        """One object, or None where there is none."""
        if self.local and reads(kind):
            return reader_of(self.kubeconfig).get(kind, name, namespace)
        text = self("get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(
        self, kind: str, namespace: str | None = "default", labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        """Objects of a kind with the labels; of all namespaces where `namespace` is None."""
        if self.local and reads(kind):
            return reader_of(self.kubeconfig).list(kind, namespace, labels or {})
        where = ["-A"] if namespace is None else ["-n", namespace]
        chosen = ["-l", ",".join(f"{key}={value}" for key, value in labels.items())] if labels else []
        items: list[Object] = json.loads(self("get", kind, *where, *chosen, "-o", "json"))["items"]
        return items

    def apply(self, *objects: Object, namespace: str = "default") -> None:
        """Apply objects as a user would, with `kubectl apply`."""
        self("apply", "-n", namespace, "-f", "-", stdin=json.dumps(_bundle(objects)))

    def create(self, *objects: Object, namespace: str = "default") -> None:
        """Create objects; one that is there already is refused."""
        self("create", "-n", namespace, "-f", "-", stdin=json.dumps(_bundle(objects)))

    def apply_file(self, path: Path, namespace: str = "default") -> None:
        """`kubectl apply -f PATH`."""
        self("apply", "-n", namespace, "-f", str(path))

    @contextmanager
    def forward(self, pod: str, port: int, namespace: str = "default") -> Iterator[int]:
        """Forward a free local port to a pod's and yield its number.

        Raises:
            StageError: kubectl ended before it forwarded.
        """
        command = [self.kubectl, "--kubeconfig", str(self.kubeconfig), "port-forward", "-n", namespace, pod, f":{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            if process.stdout is None or process.stderr is None:
                raise StageError("kubectl port-forward has no output to read")
            match = re.search(r"127\.0\.0\.1:(\d+) ->", process.stdout.readline())
            if not match:
                raise StageError(f"kubectl port-forward {pod} {port} ended: {process.stderr.read().strip()}")
            yield int(match[1])
        finally:
            process.terminate()
            process.communicate(timeout=10)


def _bundle(objects: Sequence[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}
