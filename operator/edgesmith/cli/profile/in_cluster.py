"""`edgesmith profile list --cluster`."""

from __future__ import annotations

import argparse
import asyncio

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.cli.answer import Answer
from edgesmith.cli.asking import cluster
from edgesmith.cli.profile.listing import listing
from edgesmith.cluster.kinds import DEVICE_PROFILE
from edgesmith.cluster.parse import device_profile


def run(found: argparse.Namespace) -> Answer:
    """Show the DeviceProfiles of a cluster.

    Raises:
        ClusterError: It could not be asked.
    """
    return asyncio.run(_of_cluster(found))


async def _of_cluster(found: argparse.Namespace) -> Answer:
    async with cluster(found) as (client, _):
        read = [device_profile(raw) async for raw in client.list(DEVICE_PROFILE)]
    profiles = [one for one in read if isinstance(one, DeviceProfile)]
    unread = [one.message for one in read if not isinstance(one, DeviceProfile)]
    return listing(profiles, unread, found.output)
