"""Where models and data sets come from: one module a scheme of URIs."""

from edgesmith_builder.source.https import Web, WebLogin
from edgesmith_builder.source.interface import Fetched, Limit, Place, Seen, Source
from edgesmith_builder.source.oci import Artifacts, FirstOf, source_logins
from edgesmith_builder.source.s3 import Bucket, StoreSettings
from edgesmith_builder.source.schemes import Sources

__all__ = [
    "Artifacts",
    "Bucket",
    "Fetched",
    "FirstOf",
    "Limit",
    "Place",
    "Seen",
    "Source",
    "Sources",
    "StoreSettings",
    "Web",
    "WebLogin",
    "source_logins",
]
