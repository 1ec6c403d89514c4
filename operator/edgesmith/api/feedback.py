"""What is seen of the requests that nodes answer."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from edgesmith.api.model import Model, rules
from edgesmith.api.retraining import Retraining
from edgesmith.api.sampling import FeedbackBucket, Sample
from edgesmith.api.units import Duration

NOTHING = "None"
"""The `privacy` under which nothing of requests leaves a server."""

SAMPLES = "Samples"
"""The one under which requests themselves do."""


class Drift(Model):
    """How servers tell that they are asked other things than the model was made with."""

    cycle: Duration = Field(
        "24h",
        description=(
            "In which time what is asked may change and come back, as it does in the calibration set: a day, or 168h "
            "for a week. Drift within the baseline is judged over one; what it never had is judged at once. 0s: it "
            "does not depend on the time, and 3,600 requests are judged."
        ),
    )


class Feedback(Model):
    """What is seen of the requests that nodes answer."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "!has(self.privacy) || self.privacy != 'Samples' || has(self.bucket)": (
                    "privacy Samples needs bucket: where samples go"
                ),
                "!has(self.retraining) || (has(self.privacy) && self.privacy != 'None')": (
                    "retraining needs servers that watch for drift: privacy Statistics or Samples"
                ),
            }
        )
    )

    privacy: Literal["None", "Statistics", "Samples"] = Field(
        "None",
        description=(
            "What of requests may leave the server that answers them. None: nothing, and they are not observed. "
            "Statistics: statistics of many requests, from which none can be told. Samples: requests themselves."
        ),
    )
    drift: Drift = Field(
        Drift(), description="How servers tell that they are asked other things than the model was made with."
    )
    retraining: Retraining | None = Field(
        None, description="What is started, once, when an episode of drift begins. Absent: nothing."
    )
    bucket: FeedbackBucket | None = Field(None, description="Where samples go, with privacy Samples.")
    sample: Sample = Field(Sample(), description="Which samples a node sends home, with privacy Samples.")
