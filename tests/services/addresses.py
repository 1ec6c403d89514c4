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
    *("https://[::]/", "https://[::1]:8443", "https://[2001:DB8::]/", "https://[1:2:3:4:5:6:7:8]/", "https://[1::8]/"),
    *("https://[1:2:3:4:5:6:7::]/", "https://[::2:3:4:5:6:7:8]/", "https://[1:2:3::5:6:7:8]/", "https://[fe80::a:0]/"),
    *("https://[::ffff:10.0.0.7]/", "https://[64:ff9b::192.0.2.255]/x", "https://[1:2:3:4:5:6:10.0.0.7]/"),
)

NO_ADDRESSES = (
    *("https://h/é", "https://h/?é", "https://h/a\x01b", "https://h/a\x7f", "https://h/a b", "https://h/a\nb"),
    *("https://h:99999999/x", "https://h:x/", "https://h:0/", "https://a..b/", "https://.a/", f"https://{'a' * 64}/"),
    *("https://[x/", "https://[x]/", "https://:443/", "https:///x"),
    *(
        "https://[10.0.0.7]/",
        "https://[1:2]/",
        "https://[:]/",
        "https://[....]/",
        "https://[]/",
        "https://[1:2:3:4:5:6:7]/",
    ),
    *("https://[1::2::3]/", "https://[1:2:3:4:5:6:7:8:9]/", "https://[:::]/", "https://[1:]/", "https://[12345::]/"),
    *(
        "https://[::1:2:3:4:5:6:7:8]/",
        "https://[1:2:3:4:5:6:7:10.0.0.7]/",
        "https://[::10.0.0.256]/",
        "https://[::1.2.3]/",
    ),
    *("https://[1:2:3:4::5:6:7:8:9]/", "https://[::10.0.0.7:1]/", "https://[::01.2.3.4]/", "https://[v1.a]/"),
)
"""No event can be sent there: the resource refuses them, and so does what sends."""
