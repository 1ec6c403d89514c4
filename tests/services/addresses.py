"""Addresses that events are sent to, and what only looks like one."""

from __future__ import annotations

ADDRESSES = (
    *(
        "https://hooks.example/drift?of=a%20b&c=(d)",
        "http://hook.plant-7.svc:8080",
        "https://10.0.0.7:65535/",
        "https://a/",
    ),
    *("http://[fd00::7]:80/x", "https://h.example./x", f"https://{'a' * 63}.example/", "https://h:1/"),
)

NO_ADDRESSES = (
    *("https://h/é", "https://h/?é", "https://h/a\x01b", "https://h/a\x7f", "https://h/a b", "https://h/a\nb"),
    *("https://h:99999999/x", "https://h:x/", "https://h:0/", "https://a..b/", "https://.a/", f"https://{'a' * 64}/"),
    *("https://[x/", "https://[x]/", "https://:443/", "https:///x"),
)
"""No event can be sent there: the resource refuses them, and so does what sends."""
