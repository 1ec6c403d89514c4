"""What is built besides what the cluster's own nodes run."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model


class Builds(Model):
    """Builds for clusters at sites, which make none themselves."""

    profiles: tuple[str, ...] = Field(
        (),
        max_length=64,
        description=(
            "Names of DeviceProfiles that the EdgeModel is built for, whether or not the cluster has such nodes: for "
            "clusters at sites. One that spec.deviceProfiles does not pick as well is rolled out to no node. Where no "
            "builds are made (builder.enabled is false) it has no effect, so hub and sites can share one manifest."
        ),
        json_schema_extra={"x-set": True, "x-member": "Name of a DeviceProfile."},
    )
