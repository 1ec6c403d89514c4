"""Where models and data sets come from: an S3 bucket."""

from edgesmith_builder.source.s3 import Bucket, Fetched, Limit
from edgesmith_builder.source.settings import StoreSettings

__all__ = ["Bucket", "Fetched", "Limit", "StoreSettings"]
