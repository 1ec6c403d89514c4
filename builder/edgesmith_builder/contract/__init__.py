"""What the operator and the builder say to each other.

A `BuildRequest` goes to the builder, as JSON; the answer is an image whose manifest carries a `BuildReport`, and a
`BuildResult` or a `BuildFailure` in the container's termination message. Nothing else passes between the two, so either
can be replaced, and a build can be run on a laptop from the same file.

What lies at URIs without a digest is found out before that: a `ResolveRequest` is answered by a `ResolveResult` or a
`BuildFailure`, in the same way.

`Build.key` is the build key: the hash of everything that decides the image's bytes. The registry is the database of
builds: an image under a tag equal to the key means that the build was made, by whoever made it, where the image is the
base with a build's layers on top (`edgesmith_builder.provenance`) and is not another than the one that a Job of ours
reported.
"""

from edgesmith_builder.contract.build import (
    FLAVOURS,
    TOOLS,
    Artifact,
    Build,
    BuildRequest,
    Earlier,
    Gates,
    MetricName,
    Platform,
    Pruning,
    Reference,
    Tools,
    tools_of,
)
from edgesmith_builder.contract.failure import BuildFailure, FailureReason
from edgesmith_builder.contract.memory import most_bytes
from edgesmith_builder.contract.number import number_text
from edgesmith_builder.contract.onnx_runtime import (
    MICROSOFT_SINCE,
    OLDEST,
    READS,
    TRITON,
    VERSION_PATTERN,
    Reads,
    Release,
    reads,
    release_of,
)
from edgesmith_builder.contract.picture import Classification, Detection, Picture
from edgesmith_builder.contract.report import (
    BASE_DIGEST_ANNOTATION,
    BASE_NAME_ANNOTATION,
    KEY_ANNOTATION,
    LARGE,
    REPORT_ANNOTATION,
    BuildReport,
    BuildResult,
    Candidate,
    Finalist,
    InFloat,
    Renamed,
    base_tag,
)
from edgesmith_builder.contract.resolve import (
    ANSWER_LIMIT,
    VALIDATOR_LIMIT,
    FileToResolve,
    ResolvedFile,
    ResolveRequest,
    ResolveResult,
)
from edgesmith_builder.contract.toolchain import Toolchain, wrong_engine_version, wrong_options, wrong_precisions
from edgesmith_builder.contract.toolchains import (
    PRUNED,
    READ_BY,
    REFINES,
    TOOLCHAINS,
    BuilderFlavour,
    EngineName,
    Form,
    OptionFacts,
    Precision,
    ServerName,
    ToolchainFacts,
    ToolchainName,
    precision_of,
)
from edgesmith_builder.contract.wire import Wire

__all__ = [
    "ANSWER_LIMIT",
    "BASE_DIGEST_ANNOTATION",
    "BASE_NAME_ANNOTATION",
    "FLAVOURS",
    "KEY_ANNOTATION",
    "LARGE",
    "MICROSOFT_SINCE",
    "OLDEST",
    "PRUNED",
    "READS",
    "READ_BY",
    "REFINES",
    "REPORT_ANNOTATION",
    "TOOLCHAINS",
    "TOOLS",
    "TRITON",
    "VALIDATOR_LIMIT",
    "VERSION_PATTERN",
    "Artifact",
    "Build",
    "BuildFailure",
    "BuildReport",
    "BuildRequest",
    "BuildResult",
    "BuilderFlavour",
    "Candidate",
    "Classification",
    "Detection",
    "Earlier",
    "EngineName",
    "FailureReason",
    "FileToResolve",
    "Finalist",
    "Form",
    "Gates",
    "InFloat",
    "MetricName",
    "OptionFacts",
    "Picture",
    "Platform",
    "Precision",
    "Pruning",
    "Reads",
    "Reference",
    "Release",
    "Renamed",
    "ResolveRequest",
    "ResolveResult",
    "ResolvedFile",
    "ServerName",
    "Toolchain",
    "ToolchainFacts",
    "ToolchainName",
    "Tools",
    "Wire",
    "base_tag",
    "most_bytes",
    "number_text",
    "precision_of",
    "reads",
    "release_of",
    "tools_of",
    "wrong_engine_version",
    "wrong_options",
    "wrong_precisions",
]
