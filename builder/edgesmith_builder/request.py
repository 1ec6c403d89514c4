"""What of a request can be found wrong before anything is fetched."""

from __future__ import annotations

from importlib.metadata import version

from edgesmith_builder.contract import (
    TOOLCHAINS,
    TOOLS,
    Build,
    BuildRequest,
    Gates,
    Toolchain,
    Tools,
    tools_of,
    wrong_engine_version,
    wrong_options,
    wrong_precisions,
)
from edgesmith_builder.errors import RequestInvalid
from edgesmith_builder.metric import metric_of
from edgesmith_builder.oci import Reference, Repository
from edgesmith_builder.toolchain import toolchain_of


def check_request(request: BuildRequest) -> Reference:
    """Find contradictions before anything is fetched, and return where the image goes.

    Raises:
        RequestInvalid: naming the field.
    """
    wanted = request.build
    try:
        target = Repository.parse(request.repository).tagged(wanted.key)
    except ValueError as error:
        raise RequestInvalid(f"repository is not one: {error}") from error
    if request.gates is not None:
        check_gates(wanted, request.gates)
    check_toolchain(wanted.toolchain)
    check_engine_version(wanted)
    check_tools(wanted.tools or tools_of(wanted.toolchain.name), wanted.toolchain)
    return target


def check_gates(wanted: Build, gates: Gates) -> None:
    """Find gates that the metric cannot be held to.

    Raises:
        RequestInvalid: naming the gate.
    """
    metric = metric_of(wanted.metric, wanted.metric_options)
    bounds = {
        "maxAccuracyDrop": gates.max_accuracy_drop,
        "minAccuracy": gates.min_accuracy,
        "maxError": gates.max_error,
    }
    asked = {name: bound for name, bound in bounds.items() if bound is not None}
    for name, bound in asked.items():
        if wanted.evaluation is None:
            raise RequestInvalid(
                f"spec.gates.{name} is {bound} but spec.evaluation is absent; "
                f"an evaluation set was expected to measure {metric.name} on"
            )
        if name == ("minAccuracy", "maxError")[metric.higher]:
            other = "maxError" if name == "minAccuracy" else "minAccuracy"
            better = "higher" if metric.higher else "lower"
            raise RequestInvalid(
                f"spec.gates.{name} is {bound} but {metric.name} is better the {better} it is; "
                f"spec.gates.{other} was expected"
            )


def check_toolchain(wanted: Toolchain) -> None:
    """Hold what is asked of a toolchain against what it can be asked for.

    Raises:
        RequestInvalid: naming the field.
    """
    toolchain_of(wanted.name)
    wrong = wrong_precisions(wanted.name, wanted.precisions) or wrong_options(wanted.name, wanted.options)
    if wrong is None and wanted.compiler_image is not None and not TOOLCHAINS[wanted.name].compiler:
        wrong = f"compilerImage is {wanted.compiler_image}, and {wanted.name} takes none; it was expected to be absent"
    if wrong is not None:
        raise RequestInvalid(f"build.toolchain.{wrong}")


def check_engine_version(wanted: Build) -> None:
    """Hold the engine's version against what is known of versions.

    Raises:
        RequestInvalid: naming the field.
    """
    if wanted.engine_version is not None:
        wrong = wrong_engine_version(wanted.toolchain.name, wanted.engine_version)
        if wrong is not None:
            raise RequestInvalid(f"build.engineVersion is {wrong}")


def check_tools(wanted: Tools, toolchain: Toolchain) -> None:
    """Hold the versions of what compiles, which are part of the build key, against what is installed.

    Raises:
        RequestInvalid: naming the tool.
    """
    installed = {name: version(name) for name in TOOLCHAINS[toolchain.name].tools}
    for name in Tools.model_fields:
        asked, there = getattr(wanted, name), TOOLS.builder if name == "builder" else installed.get(name)
        if asked != there:
            raise RequestInvalid(
                f"build.tools.{name} is {asked or 'absent'} but this builder has {there or 'no use for it'}; the "
                "builder image of the operator's own release was expected"
            )
