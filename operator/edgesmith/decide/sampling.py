"""What a serving pod depends on where its node sends samples home."""

from __future__ import annotations

import json
from dataclasses import dataclass

from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.fraction import parse_fraction
from edgesmith.api.sampling import Redact
from edgesmith.api.units import parse_bytes
from edgesmith.decide.settings import Settings


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which samples a node sends home, and where."""

    place: str
    """`s3://BUCKET/PREFIX`."""
    secret: str
    """The Secret with the keys, in the EdgeModel's namespace."""
    day_bytes: int
    disk_bytes: int
    random_share: float
    second_bytes: int
    endpoint: str | None
    """Where the bucket is unless the Secret says it; None for Amazon's."""
    authorities: str | None
    """Certificates in PEM to trust besides the public ones."""
    rules: str | None
    """What is taken out, as the runtime reads it; None where nothing is."""
    command: tuple[str, ...] | None


def sampling(model: EdgeModel, settings: Settings) -> Sampling | None:
    """What the spec says; None where it does not say where samples go."""
    feedback = model.spec.feedback
    if feedback.bucket is None:
        return None
    sample = feedback.sample
    redact = sample.redact or Redact()
    rules = [rule.model_dump(by_alias=True, exclude_none=True) for rule in redact.rules]
    return Sampling(
        place=feedback.bucket.uri,
        secret=feedback.bucket.secret_ref.name,
        day_bytes=parse_bytes(sample.bytes_per_day),
        disk_bytes=parse_bytes(sample.disk_bytes),
        random_share=parse_fraction(sample.random_share),
        second_bytes=parse_bytes(sample.bytes_per_second),
        endpoint=settings.bucket_endpoint,
        authorities=settings.bucket_ca,
        rules=json.dumps(rules, sort_keys=True, separators=(",", ":")) if rules else None,
        command=redact.command or None,
    )
