"""S3, and whatever speaks as it does."""

from edgesmith_builder.source.s3.bucket import Bucket
from edgesmith_builder.source.s3.settings import StoreSettings

__all__ = ["Bucket", "StoreSettings"]
