"""Certificates as operators see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from google.protobuf import timestamp_pb2
from soma.mesh.v1 import resources_pb2

from mesh.pki.files import read_identity
from mesh.pki.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mesh.pki.folder import PkiFolder


def certificates_of(folder: PkiFolder, names: Iterable[str] | None = None) -> list[resources_pb2.Certificate]:
    """Describe the leaves of these workloads; of all, with both authorities, where none is named."""
    authorities = [] if names is not None else [folder.path / "root.pem", folder.path / "intermediate.pem"]
    chosen = [one.name for one in WORKLOADS] if names is None else list(names)
    found = [x509.load_pem_x509_certificate(path.read_bytes()) for path in authorities]
    found += [read_identity(folder.workload_folder(name)).certificate for name in chosen]
    return [describe(certificate) for certificate in found]


def describe(certificate: x509.Certificate) -> resources_pb2.Certificate:
    """Describe one; an authority has its common name in the place of a SPIFFE id."""
    begin, end = timestamp_pb2.Timestamp(), timestamp_pb2.Timestamp()
    begin.FromDatetime(certificate.not_valid_before_utc)
    end.FromDatetime(certificate.not_valid_after_utc)
    return resources_pb2.Certificate(
        spiffe_id=_identity(certificate),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        not_before=begin,
        not_after=end,
        issuer=_common_name(certificate.issuer),
    )


def _identity(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return _common_name(certificate.subject)
    return names.get_values_for_type(x509.UniformResourceIdentifier)[0]


def _common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
