"""The Job that makes one look at files whose digest the spec does not give."""

from __future__ import annotations

from typing import Any

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.names import ATTEMPT_ANNOTATION, RESOLVE_LABEL, resolve_job_name
from edgesmith.decide.plan import StartLook
from edgesmith.decide.settings import Settings
from edgesmith.resources.builder_job import builder_job, scheme_of
from edgesmith_builder.contract import ResolveRequest

RESOLVE = "resolve"
"""The builder's command."""


def resolve_job(model: EdgeModel, start: StartLook, settings: Settings) -> dict[str, Any]:
    """The Job for one look.

    It pushes nothing; the login for that is lent to it only where a file lies in a registry, which builds read with it,
    too, where the source's Secret has none.
    """
    uris = [file.uri for file in start.files]
    plain = (settings.repository.partition("/")[0],) if settings.plain_http else ()
    return builder_job(
        model,
        resolve_job_name(model.metadata.name, start.key, start.attempt, start.number),
        settings,
        labels={RESOLVE_LABEL: start.key},
        annotations={ATTEMPT_ANNOTATION: start.attempt},
        start=start,
        request=ResolveRequest(files=start.files, plain_registries=plain).to_json(),
        uris=uris,
        words=(RESOLVE,),
        login="oci" in map(scheme_of, uris),
    )
