# ruff: noqa: INP001 - a program that a ConfigMap carries, not a package
"""Brings the installed CRDs to the chart's version: what the Job before `helm upgrade` runs.

It uses the standard library only and lies in the chart, so that a chart brings its own CRDs with whatever version of
the operator's image it is given.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
CRDS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FIELD_MANAGER = "edgesmith-crds"


class Api:
    """The API server as a pod reaches it.

    Args:
        address: `https://HOST:PORT`.
        account: Folder with the files `token` and `ca.crt`.
    """

    def __init__(self, address: str, account: Path) -> None:
        self._address = address
        self._token = (account / "token").read_text().strip()
        self._tls = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Send one request and return the answer's body.

        Raises:
            urllib.error.HTTPError: The server refused.
            urllib.error.URLError: It was not reached.
        """
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/apply-patch+yaml"}
        # The address is the pod's own environment's, never a user's.
        request = urllib.request.Request(f"{self._address}/{path}", body, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:  # noqa: S310 - as above
            content: bytes = answer.read()
        return content


def upgrade(api: Api, file: Path) -> str:
    """Apply one CRD where it is installed, and return one sentence about it.

    One that is not installed is left to Helm, which makes it: this program is not allowed to.

    Raises:
        urllib.error.URLError: The server refused or was not reached.
    """
    crd = json.loads(file.read_text())
    name = crd["metadata"]["name"]
    try:
        before = json.loads(api.call("GET", f"{CRDS}/{name}"))["metadata"]["generation"]
    except urllib.error.HTTPError as error:
        if error.code == 404:  # noqa: PLR2004 - not found
            return f"{name} is not installed: nothing to upgrade"
        raise
    path = f"{CRDS}/{name}?fieldManager={FIELD_MANAGER}&force=true"
    after = json.loads(api.call("PATCH", path, json.dumps(crd).encode()))["metadata"]["generation"]
    return f"{name} is {'as it was' if after == before else 'upgraded'}"


def main(folder: Path) -> int:
    """Apply every CRD of a folder; 0 when all are as the chart has them."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    api = Api(f"https://{f'[{host}]' if ':' in host else host}:{port}", ACCOUNT)
    for file in sorted(folder.glob("*.json")):
        try:
            print(upgrade(api, file))  # noqa: T201 - a Job's log
        except urllib.error.HTTPError as error:
            print(f"{file.stem}: the API server refused: {error.code} {error.read().decode()}", file=sys.stderr)  # noqa: T201 - a Job's log
            return 1
        except urllib.error.URLError as error:
            print(f"{file.stem}: the API server was not reached: {error.reason}", file=sys.stderr)  # noqa: T201 - a Job's log
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
