"""Devices that compile a model anew, as the status of a variant says it."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model


class Recompiled(Model):
    """Nodes that compile the model anew because the same of their device is another than before."""

    change: str = Field(description="What was and is another: the driver was 540.4.0 and is 550.1, say.")
    node: str = Field(description="The first of these nodes by name.")
    nodes: int = Field(description="How many there are.")

    @property
    def sentence(self) -> str:
        """The same in words."""
        more = self.nodes - 1
        others = f" and {more} more node{'s' if more > 1 else ''}" if more else ""
        return f"On {self.node}{others} the model is compiled anew, since {self.change}."
