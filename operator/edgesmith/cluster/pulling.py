"""Why an image cannot be pulled, out of what a kubelet says: the image once, and the last cause.

A kubelet repeats what containerd says, and that names the image up to four times before it comes to the cause, which is
at the end: `failed to pull and unpack image "…": failed to resolve reference "…": …: not found`.
"""

from __future__ import annotations

import re

_IMAGE, _CAUSE = 90, 120
"""Most characters of each: with what a record says around it, a sentence is not cut."""
_LITTLE = 30
"""A cause of fewer characters may need what comes before it: `not found`."""
_STEP = re.compile(
    r"(?:Back-off pulling image|(?:[Ff]ailed to )?(?:pull and unpack image|pull image|resolve (?:reference|image)))"
    r' \\?"([^"\\]+)\\?"(?:: |$)'
)
"""What is said of an image before why."""
_NOISE = re.compile(
    r"rpc error: code = \w+ desc = |(?:ErrImagePull|ImagePullBackOff|RegistryUnavailable): |"
    r"pulling from host \S+ failed with status code |failed to (?:do request|copy|authorize|fetch \w+ token): |"
    r"httpReadSeeker: |failed open: |[Ee]rror response from daemon: "
)
"""What says nothing of the cause."""
_DIGEST = re.compile(r"\b(sha256|sha512):([0-9a-f]{12})[0-9a-f]{20,}")
_CLASS = re.compile(r": (?:unknown|unavailable|failed precondition|aborted|internal|invalid argument)$")
"""What containerd puts behind a cause: the class of the error."""


def pull_cause(message: str) -> str:
    """A kubelet's words about an image that it cannot pull, shortened: `IMAGE: CAUSE`.

    Args:
        message: The words; without an image in them, they are only shortened.
    """
    said = " ".join(message.split())
    image = next(iter(_STEP.findall(said)), "")
    cause = _STEP.sub("", said)
    if image:
        cause = cause.replace(f"{image}: ", "")
    cause = _CLASS.sub("", _digests(_NOISE.sub("", cause)).rstrip("."))
    image = _short(_digests(image), _IMAGE)
    if image and not cause:
        return f'Back-off pulling image "{image}"'
    return f"{image}: {_ending(cause)}" if image else _ending(cause)


def _digests(text: str) -> str:
    """A text with digests that are long enough to be told apart, and no longer."""
    return _DIGEST.sub(r"\1:\2…", text)


def _ending(cause: str) -> str:
    """The end of a chain of causes, as many of them as fit; where one alone says little, with the words before it."""
    steps = cause.split(": ")
    while len(steps) > 1 and len(": ".join(steps)) > _CAUSE:
        del steps[0]
    end = ": ".join(steps)
    if len(end) < min(_LITTLE, len(cause)):
        words = cause.split(" ")
        while len(" ".join(words)) > _CAUSE - 1:
            del words[0]
        tail = " ".join(words)
        end = f"…{tail}" if len(tail) > len(end) else end
    return _short(end, _CAUSE)


def _short(text: str, most: int) -> str:
    """A text without its middle where it is too long: both ends say something."""
    half = most // 2
    return text if len(text) <= most else f"{text[: half - 1]}…{text[len(text) - half :]}"
