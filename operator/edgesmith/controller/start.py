"""The operator from its command line to its exit status."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys

from edgesmith.cluster.configuration import SettingsError
from edgesmith.cluster.errors import ClusterError
from edgesmith.controller import logs
from edgesmith.controller.options import options_from
from edgesmith.controller.run import run

log = logging.getLogger("edgesmith.controller")

COLLECT = (20_000, 20, 20)
"""Python's thresholds for its collector of cycles: objects that are read are many, and have none. Its own are 700 and
10 and 10, and take a tenth of the processor's time."""


def main() -> int:
    """Run; 0 after SIGTERM, 1 after anything else."""
    try:
        options = options_from(sys.argv[1:], os.environ)
        logs.set_up(options.log_level)
        gc.set_threshold(*COLLECT)
        log.info("starting as %s", options.holder)
        asyncio.run(run(options))
    except (SettingsError, ClusterError, OSError) as error:
        if not logging.getLogger().handlers:
            logs.set_up("info")
        log.critical("%s", error)
        return 1
    except Exception:
        # The process cannot go on: a watch failed for good, for example.
        log.critical("the operator ends", exc_info=True)
        return 1
    log.info("stopped")
    return 0
