"""EdgeModel: one model, and where and how it is to run."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from edgesmith.api.fraction import Fraction
from edgesmith.api.model import Model, ObjectMeta, rules
from edgesmith.api.names import MAX_MODEL_NAME
from edgesmith.api.units import PERCENT_PATTERN, Deadline, Duration, PositiveDuration, Size
from edgesmith_builder.contract import MetricName, TrialPolicy

KIND = "EdgeModel"
PLURAL = "edgemodels"

URI_PATTERN = (
    r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+"
    r"|https://[A-Za-z0-9.:\[\]-]+/[^ #]+"
    r"|oci://[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})"
    r"(#[^ #]+)?)$"
)
URI_FORMS = (
    "s3://BUCKET/KEY, https://HOST/PATH, or oci://REGISTRY/NAME with :TAG or @sha256:HEX and, of several files, #FILE"
)
ERRORS = ("RMSE", "MAE")
"""Metrics whose lower values are better."""
NUMBER_PATTERN = r"^[0-9]+(\.[0-9]+)?$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
SHARE_MESSAGE = "must be a number from {least} or a percentage from 1% to 100%"


def _share(value: int | str, name: str, *, least: int) -> int | str:
    if (value < least) if isinstance(value, int) else not re.fullmatch(PERCENT_PATTERN, value):
        raise ValueError(f"{name} is {value!r}; it {SHARE_MESSAGE.format(least=least)}")
    return value


class SecretRef(Model):
    """A Secret in the EdgeModel's namespace."""

    name: str = Field(pattern=SUBDOMAIN_PATTERN, max_length=253, description="Name of the Secret.")


class Source(Model):
    """The trained model as its owner published it."""

    uri: str = Field(pattern=URI_PATTERN, max_length=1024, description=f"Where the model is: {URI_FORMS}.")
    sha256: str = Field(
        pattern=SHA256_PATTERN, description="SHA-256 of the file, 64 hex digits; a file with another is refused."
    )
    secret_ref: SecretRef | None = Field(
        None,
        description=(
            "Secret in the same namespace for the source and both data sets. For s3://: AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where wanted, AWS_REGION and AWS_SESSION_TOKEN. For "
            "https://: HTTPS_HOST, the server that it is for, with HTTPS_TOKEN, or HTTPS_USERNAME and HTTPS_PASSWORD. "
            "For oci://: .dockerconfigjson. Absent: the operator's default endpoint, with the rights that the cloud "
            "gives the build's ServiceAccount, the login that builds push with, or else anonymously."
        ),
    )

    trust_pickle: bool = Field(
        False,
        description=(
            "true: the file may be a pickle of scikit-learn (joblib.dump), which runs code of whoever wrote it in the "
            "build Job, with all that the Job can reach. false: such a file is refused, and files by skops.io.dump are "
            "taken."
        ),
    )

    @property
    def secret(self) -> str | None:
        """Name of the Secret with the credentials; None where none is named."""
        return self.secret_ref.name if self.secret_ref else None


class Compiled(Model):
    """A file that somebody compiled of the source for a device whose compiler is no part of the builder."""

    toolchain: Literal["EdgeTPU"] = Field(description="The toolchain of the DeviceProfiles that it is for; each once.")
    uri: str = Field(
        pattern=URI_PATTERN,
        max_length=1024,
        description=f"Where the file is: {URI_FORMS}. It is fetched with the source's secretRef.",
    )
    sha256: str = Field(
        pattern=SHA256_PATTERN, description="SHA-256 of the file, 64 hex digits; a file with another is refused."
    )


class Dataset(Model):
    """A data set: an .npz file with one array per model input, first axis the samples, and no pickled objects."""

    uri: str = Field(pattern=URI_PATTERN, max_length=1024, description=f"Where the .npz file is: {URI_FORMS}.")
    sha256: str | None = Field(
        None,
        pattern=SHA256_PATTERN,
        description="SHA-256 of the file. Absent: the content at the URI is assumed never to change.",
    )


class Evaluation(Dataset):
    """The evaluation set; beside the inputs it has `labels`, what is right for each sample."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {"!has(self.topK) || (has(self.metric) && self.metric == 'TopK')": "topK is for the metric TopK alone"}
        )
    )

    metric: MetricName = Field(
        "Accuracy",
        description=(
            "How answers are scored: by class (Accuracy, TopK, MacroF1), by number (RMSE, MAE, R2) or by box "
            "(MeanAveragePrecision)."
        ),
    )
    top_k: int | None = Field(
        None,
        ge=2,
        le=1000,
        description="With the metric TopK: among how many of the highest scores the right class must be. Absent: 5.",
    )
    output: str | None = Field(
        None,
        min_length=1,
        max_length=253,
        description="The model's output that is scored, by its name. Absent: the first.",
    )

    @property
    def options(self) -> dict[str, str]:
        """What the metric is told, by name."""
        return {} if self.top_k is None else {"k": str(self.top_k)}


class Gates(Model):
    """Bounds that a variant must keep. The first five are checked at build time, the last two on each device."""

    max_accuracy_drop: Fraction | None = Field(
        None,
        description=(
            "Most that a build may lose of the metric's value against the source, as a fraction in quotes: "
            '"1%" or "0.01". With RMSE and MAE: most that the error may rise, as a share of the source\'s.'
        ),
    )
    min_accuracy: Fraction | None = Field(
        None,
        description=(
            "Least value of the metric that a build may have, as a fraction in quotes: "
            '"93%" or "0.93". Not with RMSE and MAE.'
        ),
    )
    max_error: str | None = Field(
        None,
        pattern=NUMBER_PATTERN,
        max_length=32,
        description='With RMSE and MAE: most that the error may be, in the unit of the labels, in quotes: "0.75", say.',
    )
    min_agreement: Fraction | None = Field(
        None,
        description=(
            "Least agreement with the source that a candidate of other numbers may have, in its worst output and "
            'channel, as a fraction in quotes: "95%", say; needs no labels. Absent: 80%.'
        ),
    )
    max_image_size: Size | None = Field(
        None, description="Most compressed size of the image, base included, as a Quantity or in bytes: 500Mi, say."
    )
    max_latency: PositiveDuration | None = Field(
        None,
        description="Most p95 latency of one inference, measured on the device itself before it serves: 50ms, say.",
    )
    max_memory: Size | None = Field(
        None,
        description=(
            "Most memory of the server, measured on the device with batches of serving.maxBatch, as a Quantity or in "
            "bytes: 512Mi, say."
        ),
    )


class LabelSelectorRequirement(Model):
    """One requirement of a label selector."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)": (
                    "values must be given with the operators In and NotIn, and with no other"
                )
            }
        )
    )

    key: str = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="Relation of key and values.")
    values: tuple[str, ...] = Field(
        (), max_length=64, description="Values for In and NotIn.", json_schema_extra={"x-member": "A value."}
    )


class LabelSelector(Model):
    """A Kubernetes label selector."""

    match_labels: dict[str, str] = Field(
        default_factory=dict,
        description="Labels that must be there.",
        json_schema_extra={"x-member": "The label's value."},
    )
    match_expressions: tuple[LabelSelectorRequirement, ...] = Field(
        (), max_length=64, description="Requirements that must all be met."
    )


class DeviceProfiles(Model):
    """The DeviceProfiles to build for, by name or by label; exactly one of the two."""

    model_config = ConfigDict(
        json_schema_extra=rules({"has(self.names) != has(self.selector)": "give exactly one of names and selector"})
    )

    names: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Names of DeviceProfiles.",
        json_schema_extra={"x-set": True, "x-member": "Name of a DeviceProfile."},
    )
    selector: LabelSelector | None = Field(None, description="Label selector over DeviceProfiles.")


class Step(Model):
    """One step of a rollout: so many nodes, served for so long, before the next one begins."""

    nodes: int | str = Field(
        description=(
            "How many nodes of a variant run the revision in this step, those of earlier steps included: a number or a "
            "percentage of the nodes that are to run the model, rounded down but never less than one. A step that adds "
            "none is skipped."
        ),
        json_schema_extra={"x-edgesmith-schema": "intOrPercent"},
    )
    bake: Duration = Field(
        "2m", description="How long the step's nodes must serve without a restart before the next step begins."
    )
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Only nodes with these labels, and percentages are of them. A step that picks no node is skipped.",
        json_schema_extra={"x-member": "The label's value."},
    )

    @field_validator("nodes")
    @classmethod
    def _is_share(cls, value: int | str) -> int | str:
        return _share(value, "nodes", least=1)


class Rollout(Model):
    """How a new revision reaches the nodes."""

    steps: tuple[Step, ...] = Field(
        (Step(nodes=1), Step(nodes="5%", bake="5m"), Step(nodes="25%", bake="5m")),
        min_length=1,
        max_length=16,
        description=(
            "What a new revision has to hold, in order, before it goes to all other nodes. The first step is the "
            "canary: one node that fails in it rolls the revision back."
        ),
    )
    max_unavailable: int | str = Field(
        "10%",
        description=(
            "Most nodes that may be without a ready server at once, as a number or a percentage of the nodes that are "
            "to run the model, over all variants."
        ),
        json_schema_extra={"x-edgesmith-schema": "intOrPercent"},
    )
    max_failed: int | str = Field(
        "5%",
        description=(
            "Most nodes of a variant that may fail on a revision after its first step, as a number or a percentage of "
            "the variant's nodes, rounded down but never less than one; they go back alone. One more rolls the "
            "revision back everywhere. 0: the first one does."
        ),
        json_schema_extra={"x-edgesmith-schema": "countOrPercent"},
    )
    progress_deadline: Deadline = Field(
        "10m",
        description=(
            "How long a node may take to serve a revision while it is ready before it has failed, and how long a "
            "canary that became NotReady keeps its place. More than 10m also gives the server that long to start "
            "before the kubelet restarts it, so a change of it restarts pods."
        ),
    )

    @field_validator("max_unavailable")
    @classmethod
    def _is_share(cls, value: int | str) -> int | str:
        return _share(value, "maxUnavailable", least=1)

    @field_validator("max_failed")
    @classmethod
    def _is_count(cls, value: int | str) -> int | str:
        return _share(value, "maxFailed", least=0)


class Expose(Model):
    """How clients outside the cluster reach the server of a node, at the node's own address."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "self.type != 'HostPort' || has(self.httpPort) || has(self.grpcPort)": (
                    "type HostPort needs httpPort, grpcPort or both"
                ),
                "!has(self.httpPort) || !has(self.grpcPort) || self.httpPort != self.grpcPort": (
                    "httpPort and grpcPort must be two different ports"
                ),
            }
        )
    )

    type: Literal["HostPort", "NodePort"] = Field(
        description=(
            "HostPort: a port of the nodes that run the model; namespaces under the Pod Security Standards baseline "
            "and restricted forbid it. NodePort: a port of every node, of which those that run the model answer."
        )
    )
    http_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the node for HTTP. Absent: none with HostPort, with NodePort one that the cluster picks.",
    )
    grpc_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of the node for gRPC. Absent: none with HostPort, with NodePort one that the cluster picks.",
    )


class Serving(Model):
    """How the model is served."""

    model_config = ConfigDict(
        # An object's default is judged before its fields' defaults are filled in, hence the has().
        json_schema_extra=rules(
            {
                "!has(self.port) || !has(self.grpcPort) || self.port != self.grpcPort": (
                    "port and grpcPort must be two different ports"
                )
            }
        )
    )

    port: int = Field(8000, ge=1, le=65535, description="HTTP port of the Open Inference Protocol.")
    grpc_port: int = Field(8001, ge=1, le=65535, description="gRPC port of the Open Inference Protocol.")
    max_batch: int = Field(
        8,
        ge=1,
        le=65536,
        description=(
            "Most samples in one request; larger ones are refused. Self-tests measure the server's memory with batches "
            "of it, as far as a request may be long. It concerns inputs whose first size is open and is their batch."
        ),
    )
    resources: dict[str, dict[str, str | int]] | None = Field(
        None,
        description=(
            "Requests and limits of serving pods; added to the profile's and winning over them. Where neither gives a "
            "memory limit, it is 1Gi, or twice the larger of gates.maxMemory and the memory request where that is more."
        ),
        json_schema_extra={"x-edgesmith-schema": "resources"},
    )
    expose: Expose | None = Field(
        None, description="How clients outside the cluster reach a node's server. Absent: pods of the node alone."
    )


class Optimize(Model):
    """Which of the candidates that passed the build's gates is rolled out."""

    objective: Literal["Latency", "Size", "Accuracy"] = Field(
        "Latency",
        description=(
            "What a trial chooses by: the least p95 latency on the device, where 10 % are as good as none; the "
            "smallest model layer; or the best value of the metric."
        ),
    )
    trial: TrialPolicy = Field(
        "Auto",
        description=(
            "Auto: every candidate that passes is built, and where there are several, one node of each profile tries "
            "them before the first rollout. Never: the first of the ladder that passes is built and rolled out."
        ),
    )


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
                f"!has(self.gates) || !has(self.evaluation) || !has(self.gates.minAccuracy) || !({_IS_ERROR})": (
                    "gates.minAccuracy is for metrics whose higher values are better: "
                    "give gates.maxError with RMSE and MAE"
                ),
                f"!has(self.gates) || !has(self.evaluation) || !has(self.gates.maxError) || {_IS_ERROR}": (
                    "gates.maxError is for the metrics RMSE and MAE: give gates.minAccuracy with others"
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
            "Bounds that a variant must keep. Accuracy, agreement and image size are judged while building: a "
            "candidate that breaks one is passed over for the next of the ladder, and where none is left the build "
            "fails with "
            "GatesFailed and nodes keep what they run. Latency and memory are judged on each device, by a self-test "
            "before the server starts: a revision that breaks one there is rolled back."
        ),
    )
    optimize: Optimize = Field(
        Optimize(), description="Which of the candidates that passed the build's gates is rolled out."
    )
    device_profiles: DeviceProfiles = Field(description="The classes of hardware to build for.")
    node_selector: dict[str, str] = Field(
        default_factory=dict,
        description="Only nodes with these labels get the model. Empty: all of the profiles'.",
        json_schema_extra={"x-member": "The label's value."},
    )
    rollout: Rollout = Field(Rollout(), description="How a new revision reaches the nodes.")
    paused: bool = Field(
        default=False,
        description=(
            "True: no node gets another revision until it is false again. Nodes whose revision was rolled back or "
            "failed there still go back."
        ),
    )
    serving: Serving = Field(Serving(), description="How the model is served.")


class EdgeModel(Model):
    """An EdgeModel object. `status` is kept as it was read: it is written whole and never decided by."""

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
