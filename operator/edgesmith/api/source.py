"""Where a model comes from, and the samples that it is built and scored with."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from edgesmith.api.model import Model, fits, rules
from edgesmith.api.units import Interval
from edgesmith_builder.contract import MetricName

URI_PATTERN = (
    r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/.+"
    r"|https://[A-Za-z0-9.:\[\]-]+/[^ #]+"
    r"|oci://[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})"
    r"(#[^ #]+)?)$"
)
URI_FORMS = (
    "s3://BUCKET/KEY, https://HOST/PATH, or oci://REGISTRY/NAME with :TAG or @sha256:HEX and, of several files, #FILE"
)
_PLACE = fits(f"must be {URI_FORMS}")
SHA256_PATTERN = r"^[0-9a-f]{64}$"
_SHA256 = fits("must be the 64 hex digits of a SHA-256, a to f in lower case")
SUBDOMAIN_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


_DIGEST = (
    "SHA-256 of the file, 64 hex digits; a file with another is refused. Absent: a Job looks up what lies at the URI, "
    "again every spec.source.interval; status.sources keeps it, and other bytes are another build."
)


_BYTES = (
    "How many bytes the file with that sha256 has. Nothing is built for a DeviceProfile whose spec.hardware.memory, or "
    "the memory limit of whose pods, is less, and no Job is made to find that out. Absent: a Job looks it up, of a "
    "file with a sha256 once and only where the device's memory is given; status.sources keeps it."
)
_WITH_DIGEST = rules(
    {
        "!has(self.bytes) || has(self.sha256)": (
            "bytes is about the file with a sha256: give sha256, or remove bytes and a look finds both"
        )
    }
)


class SecretRef(Model):
    """A Secret in the EdgeModel's namespace."""

    name: str = Field(
        pattern=SUBDOMAIN_PATTERN,
        max_length=253,
        description="Name of the Secret.",
        json_schema_extra=fits("must be the name of a Secret: letters in lower case, digits, - and ., model-store say"),
    )


class ModelFile(Model):
    """A trained model as its owner published it."""

    model_config = ConfigDict(json_schema_extra=_WITH_DIGEST)

    uri: str = Field(
        pattern=URI_PATTERN, max_length=1024, description=f"Where the model is: {URI_FORMS}.", json_schema_extra=_PLACE
    )
    sha256: str | None = Field(
        None, pattern=SHA256_PATTERN, max_length=64, description=_DIGEST, json_schema_extra=_SHA256
    )
    bytes: int | None = Field(None, ge=1, description=_BYTES)
    trust_pickle: bool = Field(
        False,
        description=(
            "true: the file may be a pickle of scikit-learn (joblib.dump), which runs code of whoever wrote it in the "
            "build Job, with all that the Job can reach. false: such a file is refused, and files by skops.io.dump are "
            "taken."
        ),
    )


class Source(ModelFile):
    """The trained model as its owner published it."""

    interval: Interval = Field(
        "1h",
        description=(
            "How often files without a sha256 are looked at again, the source, its "
            "alternatives, data sets and compiled files alike. "
            "0s: never again; a new value of the annotation edgesmith.dev/retry still has them looked at once."
        ),
    )
    secret_ref: SecretRef | None = Field(
        None,
        description=(
            "Secret in the same namespace for the source, its alternatives and both data sets. For s3://: "
            "AWS_ENDPOINT_URL, "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where wanted, AWS_REGION and AWS_SESSION_TOKEN. For "
            "https://: HTTPS_HOST, the server that it is for, with HTTPS_TOKEN, or HTTPS_USERNAME and HTTPS_PASSWORD. "
            "For oci://: .dockerconfigjson. Absent: the operator's default endpoint, with the rights that the cloud "
            "gives the build's ServiceAccount, the login that builds push with, or else anonymously."
        ),
    )

    @property
    def secret(self) -> str | None:
        """Name of the Secret with the credentials; None where none is named."""
        return self.secret_ref.name if self.secret_ref else None


class Compiled(Model):
    """A file that somebody compiled of the source for a device whose compiler is no part of the builder."""

    model_config = ConfigDict(json_schema_extra=_WITH_DIGEST)

    toolchain: Literal["EdgeTPU"] = Field(description="The toolchain of the DeviceProfiles that it is for; each once.")
    uri: str = Field(
        pattern=URI_PATTERN,
        max_length=1024,
        json_schema_extra=_PLACE,
        description=f"Where the file is: {URI_FORMS}. It is fetched with the source's secretRef.",
    )
    sha256: str | None = Field(
        None, pattern=SHA256_PATTERN, max_length=64, description=_DIGEST, json_schema_extra=_SHA256
    )
    bytes: int | None = Field(None, ge=1, description=_BYTES)


class Dataset(Model):
    """A data set: an .npz file with one array per model input, first axis the samples, and no pickled objects.

    Or a zip of JPEG and PNG files, which spec.picture makes samples of.
    """

    uri: str = Field(
        pattern=URI_PATTERN,
        max_length=1024,
        description=f"Where the file is, an .npz of arrays or a zip of pictures: {URI_FORMS}.",
        json_schema_extra=_PLACE,
    )
    sha256: str | None = Field(
        None, pattern=SHA256_PATTERN, max_length=64, description=_DIGEST, json_schema_extra=_SHA256
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
        description=(
            "The model's output that is scored, by its name. Absent: the one that spec.picture declares, else the "
            "first."
        ),
    )

    @property
    def options(self) -> dict[str, str]:
        """What the metric is told, by name."""
        return {} if self.top_k is None else {"k": str(self.top_k)}


File = ModelFile | Compiled | Dataset
"""A file that a spec names: where it lies, and its digest where somebody gave it."""
