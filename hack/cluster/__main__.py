"""Starts, stops and disturbs a local Kubernetes: ``python3 hack/cluster up``."""

import sys

from edgesmith_cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
