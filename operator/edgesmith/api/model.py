"""What every API type shares: camelCase on the wire, frozen in memory, lenient towards fields of newer versions."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict


def rules(said: Mapping[str, str]) -> JsonDict:
    """CEL rules of a type or a field in its CRD: rule to message, the message a sentence that says what to change."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in said.items()]}


def fits(message: str) -> JsonDict:
    """What the pattern of a field asks for, in words: the API server's own sentence would show the expression."""
    return {"x-fits": message}


class Model(BaseModel):
    """A frozen API type. Unknown fields are dropped: the API server has judged them already."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class ObjectMeta(Model):
    """The part of an object's metadata that decisions need."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None
    owners: dict[str, str] = Field(default_factory=dict)
    """Field of the spec (`source`, or `rollout.paused`) to the field manager that wrote it last."""
