"""A small streaming client for OCI registries (distribution specification 1.1).

Cross-repository mounts, uploads that go on after a break, digests checked both ways, bearer and basic logins, private
authorities.
"""

from edgesmith_builder.oci.auth import Credentials, CredentialsFile, Login, Logins
from edgesmith_builder.oci.backoff import Backoff, asked_for
from edgesmith_builder.oci.blobs import Blob, BytesBlob, FileBlob
from edgesmith_builder.oci.content import Descriptor, Index, IndexEntry, Manifest
from edgesmith_builder.oci.errors import RegistryError, RegistryForbidden, RegistryRefused, RegistryUnreachable
from edgesmith_builder.oci.reference import Reference, Repository
from edgesmith_builder.oci.referrers import Listed, Referrer
from edgesmith_builder.oci.registry import Pushed, Registry
from edgesmith_builder.oci.remote import RemoteBlob
from edgesmith_builder.oci.scheme import speaks_https
from edgesmith_builder.oci.trust import distrust, trusting

__all__ = [
    "Backoff",
    "Blob",
    "BytesBlob",
    "Credentials",
    "CredentialsFile",
    "Descriptor",
    "FileBlob",
    "Index",
    "IndexEntry",
    "Listed",
    "Login",
    "Logins",
    "Manifest",
    "Pushed",
    "Reference",
    "Referrer",
    "Registry",
    "RegistryError",
    "RegistryForbidden",
    "RegistryRefused",
    "RegistryUnreachable",
    "RemoteBlob",
    "Repository",
    "asked_for",
    "distrust",
    "speaks_https",
    "trusting",
]
