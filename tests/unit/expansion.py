"""What Kubernetes makes of texts in which variables may be named."""

from __future__ import annotations


def expanded(text: str) -> str:
    """What a kubelet makes of an argument or a variable's value.

    As Expand of k8s.io/kubernetes/third_party/forked/golang/expansion.
    """
    found, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            found, at = found + text[at], at + 1
        elif text[at + 1] == "$":
            found, at = found + "$", at + 2
        elif text[at + 1] == "(" and ")" in text[at + 2 :]:
            end = text.index(")", at + 2)
            found, at = f"{found}the value of {text[at + 2 : end]}", end + 1
        else:
            found, at = found + text[at : at + 2], at + 2
    return found
