"""What is asked of the builder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Literal, Self

from pydantic import ConfigDict, Field

from edgesmith_builder.contract.onnx_runtime import VERSION_PATTERN
from edgesmith_builder.contract.picture import Picture
from edgesmith_builder.contract.toolchain import Toolchain
from edgesmith_builder.contract.toolchains import (
    PRUNED,
    TOOLCHAINS,
    BuilderFlavour,
    Form,
    ServerName,
    ToolchainName,
)
from edgesmith_builder.contract.wire import Wire

MetricName = Literal["Accuracy", "TopK", "MacroF1", "RMSE", "MAE", "R2", "MeanAveragePrecision"]


class Artifact(Wire):
    """One file in a bucket, on a web server or in a registry."""

    uri: str
    """`s3://BUCKET/KEY`, `https://HOST/PATH`, or `oci://REGISTRY/NAME:TAG` or `…@sha256:HEX`."""
    sha256: str | None = None
    """64 hex digits. The operator always gives it; where absent, the URI is taken to name one content for ever."""

    @property
    def shown(self) -> str:
        """The URI as logs and messages have it: without a query or a login, which may be what opens it."""
        scheme, _, rest = self.uri.partition("://")
        if scheme not in ("https", "http"):
            return self.uri
        place, query, _ = rest.partition("?")
        host, slash, path = place.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}" + ("?…" if query else "")

    def without_uri(self) -> Artifact:
        """The same file without its URI, where its digest says what it is."""
        return self.model_copy(update={"uri": ""}) if self.sha256 else self


class Platform(Wire):
    """An OCI platform."""

    os: str = "linux"
    architecture: str
    variant: str | None = None


class Gates(Wire):
    """Bounds that a candidate must keep by what its build measured. They choose among candidates and change none."""

    model_config = ConfigDict(allow_inf_nan=False)  # whatever is held against NaN keeps it

    max_accuracy_drop: float | None = None
    """Most that the metric's value may lose against the source on the same evaluation set; of an error (RMSE, MAE) most
    that it may rise, as a share of the source's. Where the samples are too few to tell, for the drop's upper bound."""
    min_accuracy: float | None = None
    """Least value of a metric whose higher values are better."""
    max_error: float | None = None
    """Most that an error (RMSE, MAE) may be, in the labels' own unit."""
    min_agreement: float = 0.8
    """With the source, of every candidate that is not the source itself; see `edgesmith_builder.score.agreement`."""
    max_image_size: int | None = None
    """Compressed bytes of the whole image, base included."""


class Pruning(Wire):
    """Whole channels of a network that are removed before it is compiled."""

    ratio: float = Field(gt=0, lt=1)
    """Share of the multiplications that is to go."""


class Tools(Wire):
    """The versions of what compiles a build; a new one makes it anew. A tool that it does not use is absent."""

    builder: str
    """Changes whenever the same request would give other bytes, and whenever a default of `Build` changes."""
    ai_edge_litert: str | None = None
    onnx: str | None = None
    onnxruntime: str | None = None
    onnxruntime_qnn: str | None = None
    openvino: str | None = None
    scikit_learn: str | None = None
    skl2onnx: str | None = None


TOOLS = Tools(
    builder="8",
    ai_edge_litert="2.3.0",
    onnx="1.23.2",
    onnxruntime="1.32.0",
    openvino="2026.4.1",
    scikit_learn="1.9.1",
    skl2onnx="1.20.0",
)
"""Those of this release, as `requirements/builder.txt` locks them. The operator has none of them installed."""

FLAVOURS: Mapping[BuilderFlavour, Mapping[str, str]] = MappingProxyType({"qnn": {"onnxruntime_qnn": "2.7.0"}})
"""What a builder's flavour has besides, as `requirements/builder-FLAVOUR.txt` locks it, by the fields of `Tools`."""


def tools_of(name: ToolchainName) -> Tools:
    """The versions of what a toolchain's builds are compiled with, in this release."""
    facts = TOOLCHAINS[name]
    versions = dict(TOOLS) | dict(FLAVOURS[facts.builder] if facts.builder else {})
    return Tools(builder=TOOLS.builder, **{tool: versions[tool] for tool in facts.tools})


class Reference(Wire):
    """The model that another one may stand in for: `spec.source`, where an alternative to it is built."""

    source: Artifact
    trust_pickle: bool = False
    """As the build's own."""


class Build(Wire):
    """Everything that decides a variant's bytes. What it is served as, and for whom, is not among it."""

    source: Artifact
    compiled: Artifact | None = None
    """The source compiled already, for a toolchain whose compiler is not part of the builder."""
    trust_pickle: bool = False
    """Whether the source may be a pickle, which runs code of whoever wrote it when it is read."""
    reference: Reference | None = None
    """What the source must take and answer alike, and what accuracy is held against. Absent: the source itself."""
    calibration: Artifact | None = None
    evaluation: Artifact | None = None
    metric: MetricName = "Accuracy"
    metric_options: dict[str, str] = Field(default_factory=dict)
    """What the metric is told, by name: `k` of TopK."""
    output: str | None = None
    """The model's output that is scored on the evaluation set. Absent: the one that `picture` declares, else the
    first."""
    missing_values: Literal["Refuse", "NaN"] = "Refuse"
    """Whether NaN in a data set stands for a value that is missing, as in tables, or is a mistake."""
    pruning: Pruning | None = None
    """Absent: there are no pruned candidates."""
    picture: Picture | None = None
    """How pictures are taken and answered. Absent: they are not."""
    platform: Platform
    toolchain: Toolchain
    base: str
    """The runtime base image by digest: `REGISTRY/NAME@sha256:HEX`."""
    engine_version: str | None = Field(None, pattern=VERSION_PATTERN)
    """The version of ONNX Runtime in the base image, where that does not say. Absent: what the image says."""
    device_memory: int | None = None
    """Bytes of the device's memory; a source that is larger is refused. Absent: it is not known."""
    tools: Tools | None = None
    """Absent: those of the builder that is asked. A builder with others refuses the request."""

    @property
    def ladder(self) -> tuple[Form, ...]:
        """What is tried, best first: of each precision the pruned form before the whole one, where it is asked for."""
        whole = self.toolchain.precisions
        if self.pruning is None:
            return whole
        return tuple(form for one in whole for form in (PRUNED.get(one), one) if form is not None)

    @cached_property
    def key(self) -> str:
        """The build key: 32 hex digits. Kept once it is made: a pass asks for it many times.

        A file whose digest is known may lie anywhere, and so may the base: where they lie is not part of it.
        """
        return hashlib.sha256(self._identity().to_json().encode()).hexdigest()[:32]

    def __copy__(self) -> Self:
        """A copy, which has a key of its own: what copies it may change fields."""
        copied = super().__copy__()
        copied.__dict__.pop("key", None)
        return copied

    def bundle_key(self, server: ServerName) -> str:
        """What decides the layers over the base image, as 32 hex digits: everything but which base that is.

        Builds with one bundle key have the same bundle, so one can be made of the other's layers without compiling.

        Args:
            server: What serves in the base image: for Triton there is more in the layers.
        """
        text = self._identity().model_copy(update={"base": server}).to_json()
        return hashlib.sha256(f"bundle {text}".encode()).hexdigest()[:32]

    def _identity(self) -> Build:
        """The build as its keys are made of it."""
        artifacts = {name: getattr(self, name) for name in ("source", "compiled", "calibration", "evaluation")}
        identities: dict[str, Wire] = {name: file.without_uri() for name, file in artifacts.items() if file}
        if self.reference:
            named = self.reference.source.without_uri()
            identities["reference"] = self.reference.model_copy(update={"source": named})
        said = {
            "tools": self.tools or tools_of(self.toolchain.name),
            "toolchain": self.toolchain.without_defaults(),
            "base": self.base.partition("@")[2] or self.base,
            **identities,
        }
        return self.model_copy(update=said)


class Earlier(Wire):
    """An image that a build Job of the EdgeModel made, in the same repository."""

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    """The first finalist's."""
    bundle: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Its bundle key; see `Build.bundle_key`."""


class BuildRequest(Wire):
    """One build and where its image goes."""

    build: Build
    repository: str
    """`REGISTRY/NAME` to push to, under the tag `build.key`."""
    plain_http: bool = False
    """Talk HTTP to the registry: for registries inside the cluster only."""
    alternative: str | None = None
    """Which of `spec.optimize.alternatives` the source is, for messages. Absent: it is `spec.source`."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """How many bytes files are said to have, by the field of the build that holds them. They decide no bytes of it."""
    earlier: Earlier | None = None
    """Whose layers may be put over the base instead of compiling, on the word of whoever asks. A builder with a signing
    key takes its own key's word alone."""
    known: tuple[str, ...] = ()
    """Digests of which whoever asks knows that the image under the build's tag is this build where it has one of them.
    A builder with a signing key takes its own key's word alone."""
    gates: Gates | None = None
    """What to judge the candidates by once they are pushed; the operator gives none, and judges the report itself."""

    def field(self, role: str) -> str:
        """Where the EdgeModel names one of the build's files: `spec.source`.

        Args:
            role: The field of the build that holds it.
        """
        if self.alternative is None:
            return f"spec.{role}"
        own = f"spec.optimize.alternatives[{self.alternative}]"
        places = {"source": f"{own}.source", "compiled": f"{own}.compiled", "reference": "spec.source"}
        return places.get(role, f"spec.{role}")

    @property
    def image(self) -> str:
        """The image's reference by tag: the first finalist."""
        return f"{self.repository}:{self.build.key}"
