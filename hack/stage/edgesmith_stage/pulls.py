"""What each node pulled, by the registry's own access log."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

from edgesmith_stage.ground import Ground, cluster

_LINE = re.compile(r'(?P<address>[0-9.]+)[^"]*"GET (?P<path>/v2/\S+) [^"]*" 200 (?P<bytes>\d+)')


class Pulls:
    """Counts the bytes that nodes pull from the moment it is made."""

    def __init__(self, ground: Ground) -> None:
        status = json.loads(cluster("status", "--name", ground.name, "--json", show=False))
        self._log = Path(status["registryLog"])
        self._nodes = {node["address"]: node["name"] for node in status["nodes"]}
        self._start = self._log.stat().st_size

    def bytes_by_node(self) -> dict[str, int]:
        """Bytes of manifests and blobs sent to each node."""
        pulled: dict[str, int] = defaultdict(int)
        with self._log.open() as log:
            log.seek(self._start)
            for match in filter(None, map(_LINE.search, log)):
                address = str(match["address"])
                pulled[self._nodes.get(address, address)] += int(match["bytes"])
        return dict(pulled)
