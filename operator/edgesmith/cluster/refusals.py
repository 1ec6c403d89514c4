"""What the API server refused, as the status says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from edgesmith.api.conditions import ConditionType, Reason
from edgesmith.api.edgemodel import EdgeModel
from edgesmith.api.status import Condition, EdgeModelStatus, VariantStatus
from edgesmith.cluster.errors import (
    AdmissionDenied,
    ClusterError,
    Forbidden,
    NameTaken,
    QuotaExceeded,
    Stalled,
)
from edgesmith.decide.conditions import SENTENCES
from edgesmith.decide.entries import listed

_REASONS: Mapping[type[ClusterError], Reason] = {
    QuotaExceeded: Reason.QUOTA_EXCEEDED,
    AdmissionDenied: Reason.ADMISSION_DENIED,
    NameTaken: Reason.NAME_TAKEN,
    Forbidden: Reason.FORBIDDEN,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One call that failed."""

    error: ClusterError
    profile: str = ""
    """The variant that it is about, or empty."""

    @property
    def reason(self) -> Reason:
        """In one word."""
        return next((reason for kind, reason in _REASONS.items() if isinstance(self.error, kind)), Reason.SPEC_INVALID)


def with_refusals(
    status: EdgeModelStatus, refusals: Iterable[Refusal], model: EdgeModel, now: datetime
) -> EdgeModelStatus:
    """A status that says what the API server refuses: only the user can know what to change.

    Args:
        status: What the plan had to say.
        refusals: What failed; calls that can succeed later are left out.
        model: For the generation and the conditions there were.
        now: When.
    """
    stalled = [one for one in refusals if isinstance(one.error, Stalled)]
    if not stalled:
        return status
    replaced = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}
    mine = (
        _condition(ConditionType.READY, "False", stalled, model, now),
        _condition(ConditionType.STALLED, "True", stalled, model, now),
    )
    variants = tuple(_variant(variant, stalled) for variant in status.variants)
    kept = tuple(found for found in status.conditions if found.type not in replaced)
    return status.model_copy(update={"conditions": (*mine, *kept), "variants": variants})


def _variant(variant: VariantStatus, stalled: Sequence[Refusal]) -> VariantStatus:
    own = next((one for one in stalled if one.profile == variant.profile), None)
    return variant.model_copy(update={"reason": own.reason, "message": str(own.error)}) if own else variant


def _condition(
    kind: ConditionType, status: str, stalled: Sequence[Refusal], model: EdgeModel, now: datetime
) -> Condition:
    before = next((c for c in listed(model.status, "conditions") if c.get("type") == kind), {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    sentences = list(dict.fromkeys(str(one.error) for one in stalled))
    more = f" And {len(sentences) - SENTENCES} more." if len(sentences) > SENTENCES else ""
    return Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": stalled[0].reason,
            "message": " ".join(sentences[:SENTENCES]) + more,
            "lastTransitionTime": str(since or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
            "observedGeneration": model.metadata.generation,
        }
    )
