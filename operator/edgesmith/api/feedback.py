"""What is seen of the requests that nodes answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgesmith.api.model import Model

NOTHING = "None"
"""The `privacy` under which nothing of requests leaves a server."""


class Feedback(Model):
    """What is seen of the requests that nodes answer."""

    privacy: Literal["None", "Statistics", "Samples"] = Field(
        "None",
        description=(
            "What of requests may leave the server that answers them. None: nothing, and they are not observed. "
            "Statistics: statistics of many requests, from which none can be told. Samples: requests themselves."
        ),
    )
