"""Certificates as other programs read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mesh.pki.authority import Authority, issue_leaf, make_intermediate, make_root
from mesh.pki.errors import UnknownWorkloadError
from mesh.pki.workloads import WORKLOADS, workload, workload_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def root() -> Authority:
    return make_root(now=NOW)


@pytest.fixture(scope="module")
def intermediate(root: Authority) -> Authority:
    return make_intermediate(root, now=NOW)


@pytest.mark.parametrize("name", [one.name for one in WORKLOADS])
def test_leaf_carries_its_own_identity_and_no_other(intermediate: Authority, name: str) -> None:
    leaf = issue_leaf(intermediate, workload(name), now=NOW)
    certificate = x509.load_pem_x509_certificate(leaf.chain_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"spiffe://soma/{name}"]
    mesh_names = [n for n in names.get_values_for_type(x509.DNSName) if n.endswith(".soma")]
    assert mesh_names == [f"{name}.soma"]
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name


def test_chain_verifies_for_servers_and_clients(root: Authority, intermediate: Authority) -> None:
    leaf = issue_leaf(intermediate, workload("memory"), now=NOW)
    certificate, issuer = x509.load_pem_x509_certificates(leaf.chain_pem)
    policy = PolicyBuilder().store(Store([root.certificate])).time(NOW)
    policy.build_server_verifier(x509.DNSName("memory.soma")).verify(certificate, [issuer])
    policy.build_client_verifier().verify(certificate, [issuer])
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("policy.soma")).verify(certificate, [issuer])


def test_leaf_of_another_authority_does_not_verify(root: Authority) -> None:
    evil = make_intermediate(make_root(now=NOW), now=NOW)
    leaf = issue_leaf(evil, workload("memory"), now=NOW)
    certificate, issuer = x509.load_pem_x509_certificates(leaf.chain_pem)
    verifier = PolicyBuilder().store(Store([root.certificate])).time(NOW).build_client_verifier()
    with pytest.raises(VerificationError):
        verifier.verify(certificate, [issuer])


def test_leaf_cannot_sign(root: Authority, intermediate: Authority) -> None:
    leaf = x509.load_pem_x509_certificate(issue_leaf(intermediate, workload("slm"), now=NOW).chain_pem)
    extensions = leaf.extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    uses = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert uses == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    leaf.verify_directly_issued_by(intermediate.certificate)
    with pytest.raises((InvalidSignature, ValueError)):
        leaf.verify_directly_issued_by(root.certificate)


def test_leaf_lives_a_day_and_never_longer_than_its_issuer(root: Authority, intermediate: Authority) -> None:
    leaf = x509.load_pem_x509_certificate(issue_leaf(intermediate, workload("slm"), now=NOW).chain_pem)
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=24)
    assert leaf.not_valid_before_utc < NOW
    late = intermediate.certificate.not_valid_after_utc - timedelta(hours=1)
    short = x509.load_pem_x509_certificate(issue_leaf(intermediate, workload("slm"), now=late).chain_pem)
    assert short.not_valid_after_utc == intermediate.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("spiffe", "name"),
    [
        ("spiffe://soma/edge", "edge"),
        ("spiffe://other/edge", None),
        ("spiffe://soma/edge/x", None),
        ("spiffe://soma/", None),
        ("https://soma/edge", None),
    ],
)
def test_workload_of_a_spiffe_id(spiffe: str, name: str | None) -> None:
    assert workload_of(spiffe) == name


def test_unknown_workload_has_a_name_in_its_error() -> None:
    with pytest.raises(UnknownWorkloadError, match="nosuch"):
        workload("nosuch")
