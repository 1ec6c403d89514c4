"""Which bytes an EdgeModel's files have: from the spec, or else from the look at them that the status keeps.

What is said here decides what a build is made of, so nothing stands in for a digest that is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from edgesmith.api.deviceprofile import DeviceProfile
from edgesmith.api.edgemodel import Alternative, EdgeModel, compiled_field
from edgesmith.api.names import short_hash
from edgesmith.api.source import Compiled, Dataset, File, ModelFile
from edgesmith.api.source_status import SourceStatus
from edgesmith.decide.entries import entries_of, time_of
from edgesmith.decide.retry import requested
from edgesmith.decide.toolchain import compiled_for
from edgesmith_builder.contract import Artifact, Build


def attempt_of(model: EdgeModel) -> str:
    """What a resolve Job answers beside its files, as a hash: the retry that was asked for, and the Secret's name."""
    return short_hash(f"{requested(model)}\n{model.spec.source.secret or ''}")


def looked_at_fields(model: EdgeModel) -> dict[str, File]:
    """The files whose digest the spec does not give, by their field."""
    return {field: file for field, file in model.spec.files.items() if file.sha256 is None}


def recorded(model: EdgeModel) -> dict[str, SourceStatus]:
    """What the status knows of the files whose digest the spec does not give, by their field.

    What was found at another URI says nothing of the file, and neither does an entry that cannot be read.
    """
    return _standing(model, looked_at_fields(model))


def sizeless(model: EdgeModel) -> dict[str, ModelFile | Compiled]:
    """The models whose digest the spec gives and whose size it does not, by their field."""
    files = model.spec.files.items()
    return {
        field: file
        for field, file in files
        if not isinstance(file, Dataset) and file.sha256 is not None and file.bytes is None
    }


def measured(model: EdgeModel) -> dict[str, SourceStatus]:
    """What the status knows of the size of models whose digest the spec gives, by their field.

    It is about bytes that have that digest, so it stands until another is given. An entry without `bytes` says that
    nobody could tell; but not one of a look for the digest, which has a `validator` and was asked for no size.
    """
    wanted = sizeless(model)
    return {
        field: one
        for field, one in _standing(model, wanted).items()
        if one.sha256 == wanted[field].sha256 and (one.bytes is not None or one.validator is None)
    }


def answered(model: EdgeModel) -> dict[str, SourceStatus]:
    """Those of `measured` that count: another try that is asked for, or another Secret, has them asked for anew."""
    attempt = attempt_of(model)
    return {field: one for field, one in measured(model).items() if one.attempt == attempt}


def _standing(model: EdgeModel, wanted: Mapping[str, File]) -> dict[str, SourceStatus]:
    """The entries of the status about some files."""
    found: dict[str, SourceStatus] = {}
    for entry in entries_of(model.status, "sources", SourceStatus):
        try:
            resolved_at(entry)
        except (ValueError, OverflowError):
            continue
        if entry.field in wanted and entry.uri == wanted[entry.field].uri:
            found[entry.field] = entry
    return found


def resolved_at(entry: SourceStatus) -> datetime:
    """When the look at a file ended, in UTC.

    Raises:
        ValueError, OverflowError: The entry's time is none.
    """
    return time_of(entry.resolved_at)


def undigested(model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None = None) -> tuple[str, ...]:
    """The fields of the files that a profile's build is made of and whose digest is not known."""
    known = recorded(model)
    return tuple(
        field
        for field, file in files_for(model, profile, alternative).values()
        if file.sha256 is None and field not in known
    )


def artifacts(model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None = None) -> dict[str, Artifact]:
    """The files that a profile's build is made of, by their name in a `Build`.

    Args:
        model: The EdgeModel.
        profile: The profile.
        alternative: Which model; None: that of `spec.source`.

    Raises:
        ValueError: The digest of one is not known.
    """
    missing = undigested(model, profile, alternative)
    if missing:
        raise ValueError(f"the digest of spec.{missing[0]} is not known; it was expected in the spec or in the status")
    known = recorded(model)
    return {
        name: Artifact(uri=file.uri, sha256=file.sha256 or known[field].sha256)
        for name, (field, file) in files_for(model, profile, alternative).items()
    }


def given_sizes(
    model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None = None
) -> tuple[tuple[str, int], ...]:
    """How many bytes the spec says that files of a profile's build have, by their name in it.

    Args:
        model: The EdgeModel.
        profile: The profile.
        alternative: Which model; None: that of `spec.source`.
    """
    return tuple(
        (name, file.bytes)
        for name, (_, file) in files_for(model, profile, alternative).items()
        if not isinstance(file, Dataset) and file.bytes is not None
    )


def looked_at_files(model: EdgeModel, build: Build) -> frozenset[str]:
    """The files of a build whose digest the spec does not give, by their name in it."""
    uris = {file.uri for file in looked_at_fields(model).values()}
    files = {name: getattr(build, name) for name in ("source", "compiled", "calibration", "evaluation")}
    return frozenset(name for name, file in files.items() if file is not None and file.uri in uris)


def files_for(model: EdgeModel, profile: DeviceProfile, alternative: Alternative | None) -> dict[str, tuple[str, File]]:
    """The files that a profile's build is made of, by their name in it: the field, and the file.

    Of those that are compiled, its own toolchain's alone.

    Args:
        model: The EdgeModel.
        profile: The profile.
        alternative: Which model; None: that of `spec.source`.
    """
    spec, compiled = model.spec, compiled_for(model, profile, alternative)
    within = f"optimize.alternatives[{alternative.name}]." if alternative else ""
    found: dict[str, tuple[str, File]] = {
        "source": (f"{within}source", alternative.source if alternative else spec.source)
    }
    if compiled is not None:
        found["compiled"] = (f"{within}{compiled_field(compiled.toolchain)}", compiled)
    if alternative is not None:
        found["reference"] = ("source", spec.source)
    if spec.calibration is not None:
        found["calibration"] = ("calibration", spec.calibration)
    if spec.evaluation is not None:
        found["evaluation"] = ("evaluation", spec.evaluation)
    return found
