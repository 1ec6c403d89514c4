"""What the status of an EdgeModel keeps of files that were looked at."""

from __future__ import annotations

from pydantic import Field

from edgesmith.api.model import Model
from edgesmith.api.source import SHA256_PATTERN


class SourceStatus(Model):
    """What lay at the URI of a file whose digest or size the spec does not give, when it was looked at last.

    Builds are made of this digest, so nobody else should write it.
    """

    field: str = Field(description="The file, by its field without `spec.`: source, calibration or compiled[EdgeTPU].")
    uri: str = Field(description="Where it was looked at; of another URI in the spec this says nothing.")
    sha256: str = Field(pattern=SHA256_PATTERN, description="SHA-256 of the file, 64 hex digits.")
    bytes: int | None = Field(
        None,
        description=(
            "How many bytes the file has. Nothing is built for a device that has less memory. Absent: not known."
        ),
    )
    validator: str | None = Field(
        None,
        description="What its place said of it: ETag, version or the manifest's digest. The same means no change.",
    )
    resolved_at: str = Field(description="When the look ended.", json_schema_extra={"format": "date-time"})
    look: int = Field(0, description="Number of the Job that looked. What one with a lower number found is older.")
    attempt: str | None = Field(
        None,
        description="Hash of the retry word and of the Secret's name; with others it is looked at anew.",
    )
