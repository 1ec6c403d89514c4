"""What every type of the contract is."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Wire(BaseModel):
    """Frozen, camelCase on the wire, and strict about names: an unknown field is a misspelt one."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, no defaults, so that a new field leaves old text as it was.

        Raises:
            ValueError: where a number is none: JSON has no word for NaN and infinity.
        """
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
