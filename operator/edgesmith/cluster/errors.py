"""What can go wrong between us and the cluster. The type decides what happens next.

    ClusterError
    ├── Stalled       somebody must change something; trying again alone does not help
    │   ├── Forbidden        the API server refused our rights (403)
    │   │   └── Unknown          it does not know who asks (401)
    │   ├── QuotaExceeded    a ResourceQuota of the namespace refused the object (403)
    │   ├── AdmissionDenied  a webhook, a policy, Pod Security or a LimitRange refused the object (any 4xx)
    │   ├── NameTaken        an object of that name is somebody else's
    │   └── Invalid          the API server refused the object (400, 413, 422, or a field that the CRD does not have)
    ├── Waiting       something else comes first; look again after `seconds`
    │   └── Missing          the object or its kind is not there (404)
    └── Transient     the same call can succeed later; retried with a growing delay
        ├── Conflict         somebody else changed or made the object first (409)
        └── Unreachable      no answer, or 429 or 5xx

The exceptions of the Kubernetes client become these here and nowhere else. Every message is one sentence.
"""

from __future__ import annotations

import json
import re

_QUOTA = re.compile(r"\bis forbidden: (exceeded|failed) quota: ")
"""`failed quota`: the ResourceQuota counts a resource that the object does not set."""
_UNDECLARED = re.compile(r"^failed to create typed patch object .*: field not declared in schema$", re.DOTALL)
"""An applied field that the CRD does not have. The API server calls it an error of its own (500), and it is none."""
_ADMISSION = re.compile(
    r'admission webhook "[^"]+" denied the request'
    r"|ValidatingAdmissionPolicy '[^']+' .*denied request"
    r'|\bis forbidden: violates PodSecurity "'
    r"|\bis forbidden: (.*, )?\[?(minimum|maximum) [\w./-]+ usage per (Pod|Container|PersistentVolumeClaim) is ",
    re.DOTALL,
)
"""What the admission plugins write. Each chooses its own status code, so the sentence is all that tells them apart."""
_STRICT = re.compile(r"^.*?: strict decoding error: ", re.DOTALL)
"""What stands before the fields that the CRD does not have: the whole document, as JSON."""
_UNCHECKED = re.compile(r"(, )?<nil>: Invalid value: null: some validation rules were not checked because [^\],]*")
"""Said beside every wrong type or missing field: a part of no field that says nothing of what to change."""
_MESSAGE_LIMIT = 1000
_WHO = "the API server does not know who asks: the token or certificate is wrong or has expired, get another"
"""In place of its own word for it, which is one and says nothing of what to do."""


class ClusterError(Exception):
    """The root: a call to the API server did not do what was asked."""


class Stalled(ClusterError):  # noqa: N818 - named after what the user reads in the condition
    """Somebody must change something."""


class Forbidden(Stalled):
    """The API server refused our rights, or as Unknown our identity."""


class Unknown(Forbidden):
    """The API server does not know who asks."""


class QuotaExceeded(Stalled):
    """A ResourceQuota of the namespace refused the object."""


class AdmissionDenied(Stalled):
    """A webhook, a ValidatingAdmissionPolicy, Pod Security or a LimitRange refused the object."""


class Invalid(Stalled):
    """The API server refused the object."""


class NameTaken(Stalled):
    """An object of the name that we need exists and is somebody else's."""


class Waiting(ClusterError):  # noqa: N818 - named after what the user reads in the condition
    """Something else comes first."""

    def __init__(self, message: str, seconds: float = 10.0) -> None:
        super().__init__(message)
        self.seconds = seconds
        """After how long to look again."""


class Missing(Waiting):
    """The object, its kind or its namespace is not there."""


class Transient(ClusterError):  # noqa: N818 - named after what is done about it
    """The same call can succeed later."""


class Conflict(Transient):
    """Somebody else changed or made the object first."""


class Unreachable(Transient):
    """The API server gave no usable answer."""


_BY_STATUS: dict[int, type[ClusterError]] = {
    400: Invalid,
    401: Unknown,
    403: Forbidden,
    404: Missing,
    409: Conflict,
    413: Invalid,
    422: Invalid,
}
"""What a status alone says; every other one is no usable answer."""


def from_answer(status: int, body: str, what: str) -> ClusterError:
    """The error that an answer of the API server is.

    Args:
        status: The HTTP status; anything but 2xx.
        body: The answer's text: a metav1.Status as a rule, but a proxy on the way may send anything.
        what: The call in words, such as `applying DaemonSet plant-7/model-0123456789`.
    """
    words, cause = _words(body)
    kind = _kind(status, words, cause)
    if kind is Unknown:
        return Unknown(f"{what} failed: {_WHO}")
    return kind(f"{what} failed: {words or f'the API server answered with status {status}'}")


def misshapen(server: str, what: str, expected: str) -> Unreachable:
    """The error for a call that succeeded and whose answer is something else.

    Args:
        server: Who was asked: a page to log in at may stand in its place.
        what: The call in words.
        expected: What it should have answered.
    """
    return Unreachable(f"{what} failed: {server} answered with something else than {expected}; is it an API server?")


def not_served(kind: str, api_version: str) -> Missing:
    """The error for a kind that the cluster does not have."""
    return Missing(f"The cluster has no {kind} in {api_version}; install the chart first.")


def _kind(status: int, words: str, cause: str) -> type[ClusterError]:
    """The type of an answer's error, by the plugin that wrote its sentence, else by its status."""
    if status == 403 and cause == "NamespaceTerminating":  # noqa: PLR2004 - an HTTP status
        return Waiting
    if status == 403 and _QUOTA.search(words):  # noqa: PLR2004 - an HTTP status
        return QuotaExceeded
    if 400 <= status <= 499 and _ADMISSION.search(words):  # noqa: PLR2004 - HTTP's own numbers
        return AdmissionDenied
    if _UNDECLARED.search(words):
        return Invalid
    return _BY_STATUS.get(status, Unreachable)


def unreachable(server: str, what: str, error: BaseException) -> Unreachable:
    """The error for a call that got no answer."""
    reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unreachable(f"{what} failed: the API server at {server} cannot be reached: {reason}")


def _words(body: str) -> tuple[str, str]:
    """The sentence and the first cause of a metav1.Status; empty where it is none."""
    try:
        status = json.loads(body)
        message = str(status["message"])
        causes = (status.get("details") or {}).get("causes") or [{}]
        return _readable(message)[:_MESSAGE_LIMIT], str(causes[0].get("reason", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", ""


def _readable(message: str) -> str:
    """A sentence of the API server without what hides the field, its value and what was expected."""
    if _STRICT.match(message):
        return _STRICT.sub("", message)
    shorter = _UNCHECKED.sub("", message)
    return shorter if shorter == message else re.sub(r" is invalid: \[([^,\]]*)\]$", r" is invalid: \1", shorter)
