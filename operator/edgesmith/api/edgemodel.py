"""EdgeModel: one model, and where and how it is to run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from edgesmith.api.builds import Builds
from edgesmith.api.feedback import Feedback
from edgesmith.api.gates import ERRORS, Gates
from edgesmith.api.model import Model, ObjectMeta, fits, rules
from edgesmith.api.names import MAX_MODEL_NAME
from edgesmith.api.picture import Picture
from edgesmith.api.pruning import Pruning
from edgesmith.api.rollout import Rollout
from edgesmith.api.selection import DeviceProfiles
from edgesmith.api.serving import Serving
from edgesmith.api.source import Compiled, Dataset, Evaluation, File, ModelFile, Source

KIND = "EdgeModel"
PLURAL = "edgemodels"
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
SOURCE = "source"
"""What `spec.source` is called among alternatives."""


def compiled_field(toolchain: str) -> str:
    """The field of the file that is compiled for a toolchain, without `spec.`."""
    return f"compiled[{toolchain}]"


class Alternative(Model):
    """Another model for the same task, which may stand in for `spec.source`."""

    name: str = Field(
        pattern=NAME_PATTERN,
        max_length=32,
        description="What it is called in the status and in reports; each once.",
        json_schema_extra=fits("must be letters in lower case, digits and -, a letter first and no - last")
        | rules({f"self != '{SOURCE}'": f"'{SOURCE}' is what spec.source is called; give another name"}),
    )
    source: ModelFile = Field(
        description=(
            "The trained model. It takes the same inputs and answers the same outputs as spec.source, by type and "
            "shape; where names differ, it gets those of spec.source. It is built and scored with the same data sets "
            "and fetched with spec.source.secretRef."
        )
    )
    compiled: tuple[Compiled, ...] = Field(
        (),
        max_length=8,
        description="As spec.compiled, of this model.",
        json_schema_extra={"x-map-key": "toolchain"},
    )

    @property
    def files(self) -> dict[str, File]:
        """Its files by their field without `spec.`."""
        own = f"optimize.alternatives[{self.name}]"
        found: dict[str, File] = {f"{own}.source": self.source}
        return found | {f"{own}.{compiled_field(one.toolchain)}": one for one in self.compiled}


class Optimize(Model):
    """Which of the candidates that keep the gates is rolled out."""

    objective: Literal["Latency", "Size", "Accuracy"] = Field(
        "Latency",
        description=(
            "What a trial chooses by: the least p95 latency on the device, the smallest model layer, or the best value "
            "of the metric. Among those that the measurements cannot tell apart by it, the other two decide."
        ),
    )
    trial: Literal["Auto", "Never"] = Field(
        "Auto",
        description=(
            "Auto: where several candidates keep the gates, one node of each profile tries them before the first "
            "rollout. Never: the first of the ladder that keeps them is rolled out, of spec.source before alternatives."
        ),
    )
    pruning: Pruning | None = Field(
        None,
        description=(
            "Makes candidates of the model with channels removed beside those of the whole one: int8-pruned beside "
            "int8, say. Nothing is trained, so accuracy is lost; gates and the trial decide what that is worth. Needs "
            "calibration."
        ),
    )
    alternatives: tuple[Alternative, ...] = Field(
        (),
        max_length=8,
        description=(
            "Other models for the same task. Each is built for every profile; their candidates are tried beside those "
            "of spec.source, and the best of all is rolled out. Accuracy is held against spec.source as it came."
        ),
        json_schema_extra={"x-map-key": "name"},
    )


_HAS_ALTERNATIVES = "(has(self.optimize) && has(self.optimize.alternatives) && size(self.optimize.alternatives) > 0)"
_IS_ERROR = f"(has(self.evaluation.metric) && self.evaluation.metric in [{', '.join(map(repr, ERRORS))}])"


class EdgeModelSpec(Model):
    """One model, and where and how it is to run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "!has(self.gates) || !(has(self.gates.maxAccuracyDrop) || has(self.gates.minAccuracy) "
                "|| has(self.gates.maxError)) || has(self.evaluation)": (
                    "gates.maxAccuracyDrop, gates.minAccuracy and gates.maxError need an evaluation set: "
                    "give evaluation, or remove them"
                ),
                "!has(self.optimize) || !has(self.optimize.pruning) || has(self.calibration)": (
                    "optimize.pruning needs a set to see by what can go: give calibration, or remove it"
                ),
                f"!has(self.gates) || !has(self.evaluation) || !has(self.gates.minAccuracy) || !({_IS_ERROR})": (
                    "gates.minAccuracy is for metrics whose higher values are better: "
                    "give gates.maxError with RMSE and MAE"
                ),
                f"!has(self.gates) || !has(self.evaluation) || !has(self.gates.maxError) || {_IS_ERROR}": (
                    "gates.maxError is for the metrics RMSE and MAE: give gates.minAccuracy with others"
                ),
                f"!{_HAS_ALTERNATIVES} || has(self.evaluation)": (
                    "optimize.alternatives need an evaluation set, since nothing else says how good each is: "
                    "give evaluation, or remove them"
                ),
                f"!{_HAS_ALTERNATIVES} || (has(self.optimize.objective) && self.optimize.objective == 'Accuracy') "
                "|| (has(self.gates) && (has(self.gates.maxAccuracyDrop) || has(self.gates.minAccuracy) "
                "|| has(self.gates.maxError)))": (
                    "the fastest or smallest of optimize.alternatives would win however bad it is: give "
                    "gates.maxAccuracyDrop, gates.minAccuracy or gates.maxError, or optimize.objective Accuracy"
                ),
            }
        )
    )

    source: Source = Field(description="The trained model as its owner published it.")
    compiled: tuple[Compiled, ...] = Field(
        (),
        max_length=8,
        description=(
            "Files that were compiled of the source already, for devices whose compiler is no part of the builder. The "
            "source itself is the file from before that."
        ),
        json_schema_extra={"x-map-key": "toolchain"},
    )
    calibration: Dataset | None = Field(None, description="Samples that set the number ranges of int8.")
    evaluation: Evaluation | None = Field(None, description="Samples with labels that builds are scored on.")
    missing_values: Literal["Refuse", "NaN"] = Field(
        "Refuse",
        description=(
            "NaN: NaN in a set stands for a value that is missing, as models of tables know it. Refuse: a set with NaN "
            "in it is a mistake."
        ),
    )
    gates: Gates = Field(
        Gates(),
        description=(
            "Bounds that a variant must keep. Accuracy, agreement and image size are judged by what the build measured "
            "of each candidate: one that breaks a gate is passed over for the next of the ladder, and where none is "
            "left the variant fails with GatesFailed and nodes keep what they run. Other gates judge the same "
            "measurements anew, without a build. Latency and memory are judged on each device, by a self-test before "
            "the server starts: a revision that breaks one there is rolled back. So does one whose requests go worse "
            "than those of the revision before it (traffic)."
        ),
    )
    optimize: Optimize = Field(Optimize(), description="Which of the candidates that keep the gates is rolled out.")
    picture: Picture | None = Field(
        None,
        description=(
            "How a JPEG or PNG becomes the model's one input, and what its answer means: servers then take pictures, "
            "and show a page to drop one on. It is in the image, and part of the build key. Absent: they take tensors "
            "alone."
        ),
    )
    device_profiles: DeviceProfiles = Field(description="The classes of hardware to build for.")
    builds: Builds = Field(Builds(), description="What is built besides what the cluster's own nodes run.")
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Only nodes with these labels get the model. Empty: all of the profiles'.",
        json_schema_extra={"x-member": "The label's value."},
    )
    rollout: Rollout = Field(Rollout(), description="How a new revision reaches the nodes.")
    serving: Serving = Field(Serving(), description="How the model is served.")
    feedback: Feedback = Field(Feedback(), description="What is seen of the requests that nodes answer.")

    @property
    def files(self) -> dict[str, File]:
        """Every file that the spec names, by its field without `spec.`: `optimize.alternatives[gru].source`, say."""
        found: dict[str, File | None] = {
            "source": self.source,
            "calibration": self.calibration,
            "evaluation": self.evaluation,
        }
        found |= {compiled_field(one.toolchain): one for one in self.compiled}
        for alternative in self.optimize.alternatives:
            found |= alternative.files
        return {field: file for field, file in found.items() if file is not None}


class EdgeModel(Model):
    """An EdgeModel object. `status` is kept as it was read, but for what no status has: it is written whole."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                f"size(self.metadata.name) <= {MAX_MODEL_NAME}": (
                    f"metadata.name must have {MAX_MODEL_NAME} characters at most: children are named after it"
                ),
                f"self.metadata.name.matches('{NAME_PATTERN}')": (
                    "metadata.name must be lower-case letters, digits and dashes and begin with a letter: "
                    "it names a Service"
                ),
            }
        )
    )

    metadata: ObjectMeta
    spec: EdgeModelSpec
    status: dict[str, Any] = Field(default_factory=dict)
    unread: tuple[str, ...] = Field((), exclude=True)
    """What of its status cannot be read, each as a clause; it is not in `status`."""
