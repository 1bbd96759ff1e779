"""Making certificates: values in, values out; clocks are arguments and no file is touched.

ECDSA P-256 with SHA-256 throughout: the one curve that BoringSSL, OpenSSL and Java all take
without configuration. Profiles follow RFC 5280 and the SPIFFE X.509-SVID specification: a leaf has
exactly one URI name, the critical key usage digitalSignature, and is no authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mesh.pki.workloads import TRUST_DOMAIN, Workload

ROOT_LIFETIME = timedelta(days=3650)
INTERMEDIATE_LIFETIME = timedelta(days=365)
LEAF_LIFETIME = timedelta(hours=24)
CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that may sign others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as PKCS#8 PEM."""
        return _key_pem(self.key)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A workload's certificate chain (leaf first, then the intermediate) and its PKCS#8 key."""

    chain_pem: bytes
    key_pem: bytes


def make_root(*, now: datetime) -> Authority:
    """Make a self-signed root that may have one authority below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("SomaAgent root")
    builder = _builder(name, name, key, now=now, lifetime=ROOT_LIFETIME)
    builder = _authority_extensions(builder, key, path_length=1)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def make_intermediate(root: Authority, *, now: datetime) -> Authority:
    """Make the authority that signs leaves; it may have none below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + INTERMEDIATE_LIFETIME, root.certificate.not_valid_after_utc)
    subject = _name("SomaAgent intermediate")
    builder = _builder(subject, root.certificate.subject, key, now=now, lifetime=end - now).add_extension(
        _signed_by(root), critical=False
    )
    builder = _authority_extensions(builder, key, path_length=0)
    return Authority(builder.sign(root.key, hashes.SHA256()), key)


def issue_leaf(
    issuer: Authority,
    workload: Workload,
    *,
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> Leaf:
    """Issue a certificate for a workload; it never outlives its issuer."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + lifetime, issuer.certificate.not_valid_after_utc)
    subject, issuer_name = _name(workload.name), issuer.certificate.subject
    certificate = (
        _builder(subject, issuer_name, key, now=now, lifetime=end - now)
        .add_extension(_alternative_names(workload), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(_signed_by(issuer), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Leaf(chain_pem=pem + issuer.pem, key_pem=_key_pem(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _authority_extensions(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _alternative_names(workload: Workload) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.UniformResourceIdentifier(workload.spiffe_id),
            *(x509.DNSName(name) for name in (workload.server_name, *workload.names)),
            *(x509.IPAddress(address) for address in workload.addresses),
        ]
    )


def _signed_by(issuer: Authority) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, TRUST_DOMAIN),
        ]
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
