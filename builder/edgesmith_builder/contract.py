"""What the operator and the builder say to each other.

A `BuildRequest` goes to the builder, as JSON; the answer is an image whose manifest carries a `BuildReport`, and a
`BuildResult` or a `BuildFailure` in the container's termination message. Nothing else passes between the two, so either
can be replaced, and a build can be run on a laptop from the same file.

`Build.key` is the build key: the hash of everything that decides the image's bytes. The registry is the database of
builds: an image under a tag equal to the key means that the build was made, by whoever made it, where the image is the
base with a build's layers on top (`edgesmith_builder.provenance`) and is not another than the one that a Job of ours
reported.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

REPORT_ANNOTATION = "dev.edgesmith.report"
"""The manifest annotation that holds the `BuildReport` as JSON."""

KEY_ANNOTATION = "dev.edgesmith.build-key"
"""The manifest annotation that holds the build key."""

Precision = Literal["int8", "fp32"]

MetricName = Literal["Accuracy", "TopK", "MacroF1", "RMSE", "MAE", "R2", "MeanAveragePrecision"]

FailureReason = Literal[
    "SourceNotFound",
    "SourceUnreachable",
    "SourceForbidden",
    "DigestMismatch",
    "ModelInvalid",
    "ModelHasNaN",
    "DatasetInvalid",
    "DatasetMismatch",
    "GatesFailed",
    "RegistryUnreachable",
    "RegistryForbidden",
    "RegistryRefused",
    "RequestInvalid",
    "Internal",
]


class Wire(BaseModel):
    """Frozen, camelCase on the wire, and strict about names: an unknown field is a misspelt one."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, no defaults, so that a new field leaves old text as it was."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        return json.dumps(data, sort_keys=True, separators=(",", ":"))


class Artifact(Wire):
    """One file in a bucket."""

    uri: str
    """`s3://BUCKET/KEY`."""
    sha256: str | None = None
    """64 hex digits. Where absent, the URI is taken to name one content for ever."""

    def without_uri(self) -> Artifact:
        """The same file without its URI, where its digest says what it is."""
        return self.model_copy(update={"uri": ""}) if self.sha256 else self


class Platform(Wire):
    """An OCI platform."""

    os: str = "linux"
    architecture: str
    variant: str | None = None


class Quantization(Wire):
    """How int8 is made for a processor; which number types are fast differs between processors by a factor of two."""

    activations: Literal["uint8", "int8"] = "uint8"
    weights: Literal["uint8", "int8"] = "int8"
    per_channel: bool = True
    reduce_range: bool = True
    """Seven bits for weights: with eight, x86-64 processors without VNNI are as slow as in fp32."""


class Gates(Wire):
    """Bounds that a candidate must keep at build time."""

    max_accuracy_drop: float | None = None
    """Most that the metric's value may lose against the source on the same evaluation set; of an error (RMSE, MAE) most
    that it may rise, as a share of the source's. Where samples are too few to tell, its upper bound."""
    min_accuracy: float | None = None
    """Least value of a metric whose higher values are better."""
    max_error: float | None = None
    """Most that an error (RMSE, MAE) may be, in the labels' own unit."""
    min_agreement: float = 0.8
    """With the source, of every candidate that is not the source itself; see `edgesmith_builder.score.agreement`."""
    max_image_size: int | None = None
    """Compressed bytes of the whole image, base included."""


class Tools(Wire):
    """The versions of what compiles; a new one makes every build anew."""

    builder: str
    """Changes whenever the same request would give other bytes, and whenever a default of `Build` changes."""
    onnx: str
    onnxruntime: str


TOOLS = Tools(builder="2", onnx="1.23.2", onnxruntime="1.32.0")
"""Those of this release, as `requirements/builder.txt` locks them. The operator has none of them installed."""


class Build(Wire):
    """Everything that decides a variant's bytes."""

    model: str
    """The name it is served under."""
    source: Artifact
    calibration: Artifact | None = None
    evaluation: Artifact | None = None
    metric: MetricName = "Accuracy"
    metric_options: dict[str, str] = {}
    """What the metric may be told, by name; see `edgesmith_builder.metric`."""
    output: str | None = None
    """The model's output that is scored on the evaluation set. Absent: the first."""
    missing_values: Literal["Refuse", "NaN"] = "Refuse"
    """Whether NaN in a data set stands for a value that is missing, as in tables, or is a mistake."""
    gates: Gates = Gates()
    platform: Platform
    ladder: tuple[Precision, ...] = Field(min_length=1)
    """Best first; the first that compiles and passes every gate wins."""
    quantization: Quantization = Quantization()
    base: str
    """The runtime base image by digest: `REGISTRY/NAME@sha256:HEX`."""
    tools: Tools | None = None
    """Absent: those of the builder that is asked. A builder with others refuses the request."""

    @property
    def key(self) -> str:
        """The build key: 32 hex digits. A file whose digest is known may lie anywhere: its URI is not part of it."""
        artifacts = {name: getattr(self, name) for name in ("source", "calibration", "evaluation")}
        identities = {name: file.without_uri() for name, file in artifacts.items() if file}
        text = self.model_copy(update={"tools": self.tools or TOOLS, **identities}).to_json()
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class BuildRequest(Wire):
    """One build and where its image goes."""

    build: Build
    repository: str
    """`REGISTRY/NAME` to push to, under the tag `build.key`."""
    plain_http: bool = False
    """Talk HTTP to the registry: for registries inside the cluster only."""

    @property
    def image(self) -> str:
        """The image's reference by tag."""
        return f"{self.repository}:{self.build.key}"


class Candidate(Wire):
    """One rung of the ladder, as measured. Nothing here depends on the machine's speed: the report is in the image."""

    precision: Precision
    accuracy: float | None = None
    """The metric's value."""
    accuracy_drop: float | None = None
    """Lost against the source; of an error, its relative rise."""
    accuracy_drop_error: float | None = None
    """Half the width of the drop's 95 % confidence interval."""
    lost: int | None = None
    """Evaluation samples that the source is right about and the candidate wrong."""
    gained: int | None = None
    """Evaluation samples that the source is wrong about and the candidate right."""
    agreement: float | None = None
    """With the source, from 0 to 1, where it is least; see `edgesmith_builder.score.agreement`."""
    agreement_where: str | None = None
    """Where that is: `channel 4 of output 'detections'`."""
    agreement_samples: int | None = None
    """How many samples the agreement was measured on."""
    size: int | None = None
    """Bytes of the model file."""
    rejected: str | None = None
    """Why it did not win, in one sentence; absent for the winner and for rungs not reached."""


class BuildReport(Wire):
    """What a build found out; in the image's manifest under `REPORT_ANNOTATION`."""

    precision: Precision
    accuracy: float | None = None
    """The metric's value."""
    accuracy_drop: float | None = None
    """Lost against the source; of an error, its relative rise."""
    accuracy_drop_error: float | None = None
    """Half the width of the drop's 95 % confidence interval."""
    agreement: float | None = None
    """With the source, from 0 to 1, where it is least; absent for the source itself."""
    reference_accuracy: float | None = None
    """Of the source as it came, in fp32."""
    samples: int | None = None
    """How many samples the metric was measured over."""
    size: int
    """Bytes of the model layer: what travels when only the model changes."""
    warnings: tuple[str, ...] = ()
    """What was measured and is not as good as it looks, each in one sentence."""
    candidates: tuple[Candidate, ...]


class BuildResult(Wire):
    """What a build ended with: the last line of the builder's termination message where there is no failure."""

    image: str = Field(pattern=r"^[^@]+@sha256:[0-9a-f]{64}$")
    """The image by digest, as it was pushed or found: `REGISTRY/NAME@sha256:HEX`."""

    @property
    def digest(self) -> str:
        """`sha256:HEX` of the image's manifest."""
        return self.image.partition("@")[2]


class BuildFailure(Wire):
    """Why there is no image: the last line of the builder's termination message."""

    reason: FailureReason
    message: str
    """One sentence: the field, its value, what was expected."""
    retry: bool
    """Whether the same request can succeed later without anybody changing it."""
    candidates: tuple[Candidate, ...] = ()
