"""Which DeviceProfiles a model is built for."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from edgesmith.api.model import Model, rules


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
