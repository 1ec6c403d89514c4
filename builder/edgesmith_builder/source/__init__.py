"""Where models and data sets come from: one module a scheme of URIs."""

from edgesmith_builder.source.interface import Fetched, Limit, Source
from edgesmith_builder.source.s3 import Bucket, StoreSettings
from edgesmith_builder.source.schemes import Sources

__all__ = ["Bucket", "Fetched", "Limit", "Source", "Sources", "StoreSettings"]
