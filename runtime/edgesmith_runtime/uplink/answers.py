"""What became of one object, and what a bucket's refusal means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["REASONS", "Outcome", "Reason", "meaning"]

Reason = Literal[
    "Sent",
    "AlreadyThere",
    "Unreachable",
    "Distrusted",
    "ClockWrong",
    "Forbidden",
    "NoBucket",
    "Elsewhere",
    "Full",
    "SlowDown",
    "Conflict",
    "Unsupported",
    "Failed",
    "NoCredentials",
    "DiskFailed",
]
REASONS: Final[tuple[Reason, ...]] = Reason.__args__  # type: ignore[attr-defined]

_OF_ALL: Final = frozenset({"NoCredentials", "Distrusted", "ClockWrong", "NoBucket", "Elsewhere"})
"""Any object would have been refused so. `Full` and `SlowDown` are not among them: of a bucket on several sets of disks
one set may be full, or be without a disk, and take none of the objects that fall to it."""

_CODE: Final = re.compile(r"<Code>([A-Za-z]{1,60})</Code>")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """One kind of refusal: S3's codes and HTTP's statuses that say it, and what is expected or done then."""

    reason: Reason
    codes: frozenset[str]
    statuses: frozenset[int]
    words: str


_REFUSALS: Final = (
    _Refusal("AlreadyThere", frozenset({"PreconditionFailed"}), frozenset({412}), "the object is there already"),
    _Refusal(
        "Conflict",
        frozenset({"ConditionalRequestConflict", "OperationAborted"}),
        frozenset({409}),
        "another writes the object, and it is asked again",
    ),
    _Refusal(
        "Full",
        frozenset({"XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded"}),
        frozenset({507}),
        "room in it was expected",
    ),
    _Refusal(
        "SlowDown",
        frozenset({"SlowDown", "SlowDownWrite", "RequestLimitExceeded", "Throttling", "ServiceUnavailable"}),
        frozenset({429, 503}),
        "it is asked again later",
    ),
    _Refusal(
        "ClockWrong",
        frozenset({"RequestTimeTooSkewed", "RequestExpired"}),
        frozenset(),
        "the time of its Date header is taken for the next request",
    ),
    _Refusal("NoBucket", frozenset({"NoSuchBucket"}), frozenset({404}), "a bucket of this name was expected there"),
    _Refusal(
        "Elsewhere",
        frozenset({"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "InvalidRegion"}),
        frozenset(range(300, 400)),
        "the bucket's own AWS_ENDPOINT_URL and AWS_REGION were expected in the Secret",
    ),
    _Refusal(
        "Unsupported", frozenset({"NotImplemented"}), frozenset({501}), "it is asked without a condition from now on"
    ),
    _Refusal(
        "Forbidden",
        frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}),
        frozenset({401, 403}),
        "keys that may put objects under this node's prefix were expected in the Secret",
    ),
)
_LONGEST_WAIT: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object.

    Attributes:
        reason: `Sent` or `AlreadyThere`; or why not.
        message: One sentence, without anything of the object.
        wait: Seconds that the bucket asks to wait.
        sent: Bytes of the object that went over the link.
    """

    reason: Reason
    message: str = ""
    wait: float = 0.0
    sent: int = 0

    @property
    def stored(self) -> bool:
        """Whether the object is in the bucket."""
        return self.reason in ("Sent", "AlreadyThere")

    @property
    def silent(self) -> bool:
        """Whether nobody answered, and no byte of the object had gone."""
        return self.reason == "Unreachable" and not self.sent

    @property
    def of_all(self) -> bool:
        """Whether it says nothing of the object: any other would have fared the same."""
        return self.silent or self.reason in _OF_ALL


def meaning(status: int, body: bytes, bucket: str, retry_after: str | None) -> Outcome:
    """What an answer means.

    Args:
        status: HTTP's status.
        body: The beginning of the answer.
        bucket: The bucket's name, for the sentence.
        retry_after: The header of that name.
    """
    found = _CODE.search(body.decode("ascii", "replace"))
    code = found[1] if found else ""
    said = f"{status} {code}".strip()
    wait = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
        return Outcome("Sent")
    refusal = next((one for one in _REFUSALS if code in one.codes), None) or next(
        (one for one in _REFUSALS if status in one.statuses), None
    )
    reason, words = (refusal.reason, refusal.words) if refusal else ("Failed", "200 was expected")
    return Outcome(reason, f"the bucket {bucket} answered {said}; {words}", min(wait, _LONGEST_WAIT))
