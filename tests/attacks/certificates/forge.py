"""Certificates that must not pass, each wrong in one way, made with the installation's own authority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose name stands on a certificate and whose key signs it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: bytes

    @classmethod
    def of(cls, pki: Path, name: str = "intermediate") -> Issuer:
        """The installation's own authority."""
        pem = (pki / f"{name}.pem").read_bytes()
        key = load_pem_private_key((pki / f"{name}.key").read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return cls(x509.load_pem_x509_certificate(pem), key, pem)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a client shows and proves with."""

    chain: bytes
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a leaf says; the defaults are those of a right one."""

    common_name: str = "edge"
    uris: Sequence[str] = ("spiffe://soma/edge",)
    names: Sequence[str] = ("edge.soma",)
    usages: Sequence[x509.ObjectIdentifier] = BOTH
    begins: timedelta = timedelta(minutes=-5)
    ends: timedelta = timedelta(hours=1)
    authority: bool = False
    signs: bool = True


def leaf(issuer: Issuer, shape: Shape) -> Pair:
    """Issue a certificate."""
    return _issue(issuer, shape)[0]


def _issue(issuer: Issuer, shape: Shape) -> tuple[Pair, Issuer]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, shape.common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + shape.begins)
        .not_valid_after(now + shape.ends)
        .add_extension(x509.BasicConstraints(ca=shape.authority, path_length=None), critical=True)
        .add_extension(_usage(signature=shape.signs, authority=shape.authority), critical=True)
    )
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in shape.uris]
    names += [x509.DNSName(name) for name in shape.names]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if shape.usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(shape.usages)), critical=False)
    certificate = builder.sign(issuer.key, hashes.SHA256())
    pem = certificate.public_bytes(Encoding.PEM)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(pem + issuer.chain, secret), Issuer(certificate, key, pem + issuer.chain)


def _usage(*, signature: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=not signature,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def self_made(common_name: str = "SomaAgent intermediate") -> Issuer:
    """An authority of the same name that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Issuer(made, key, made.public_bytes(Encoding.PEM))


def not_let_in(pki: Path) -> dict[str, Callable[[], Pair]]:
    """Certificates with which no handshake may end well, by what is wrong with them."""
    ours, good = Issuer.of(pki), Shape()
    day, hour = timedelta(days=1), timedelta(hours=1)
    theirs = self_made()

    def under_a_leaf() -> Pair:
        _, as_issuer = _issue(ours, replace(good, common_name="a leaf"))
        return leaf(as_issuer, good)

    def under_a_leaf_that_says_it_is_an_authority() -> Pair:
        _, as_issuer = _issue(ours, replace(good, common_name="a leaf", authority=True))
        return leaf(as_issuer, good)

    def borrowed_chain() -> Pair:
        """Another authority's leaf beside the installation's own intermediate."""
        return leaf(replace(theirs, chain=ours.chain), good)

    return {
        "another authority": lambda: leaf(theirs, good),
        "another authority of our name, our chain": borrowed_chain,
        "expired": lambda: leaf(ours, replace(good, begins=-2 * day, ends=-day)),
        "expired just now": lambda: leaf(ours, replace(good, begins=-hour, ends=-timedelta(seconds=5))),
        "not valid yet": lambda: leaf(ours, replace(good, begins=hour, ends=2 * hour)),
        "under a leaf": under_a_leaf,
        "under a leaf that says it is an authority": under_a_leaf_that_says_it_is_an_authority,
        "for servers only": lambda: leaf(ours, replace(good, usages=(ExtendedKeyUsageOID.SERVER_AUTH,))),
        "for e-mail only": lambda: leaf(ours, replace(good, usages=(ExtendedKeyUsageOID.EMAIL_PROTECTION,))),
    }  # fmt: skip


def let_in_as_nobody(pki: Path) -> dict[str, Pair]:
    """Certificates of our own authority that name no workload of the mesh, or more than one."""
    ours, good = Issuer.of(pki), Shape()
    shapes = {
        "no names at all": replace(good, uris=(), names=()),
        "no SPIFFE id": replace(good, uris=()),
        "SPIFFE id as a DNS name": replace(good, uris=(), names=("spiffe.soma.edge",)),
        "two SPIFFE ids": replace(good, uris=("spiffe://soma/edge", "spiffe://soma/operator")),
        "the same id twice": replace(good, uris=("spiffe://soma/edge", "spiffe://soma/edge")),
        "another trust domain": replace(good, uris=("spiffe://evil/edge",)),
        "trust domain in capitals": replace(good, uris=("spiffe://SOMA/edge",)),
        "trust domain as a prefix": replace(good, uris=("spiffe://soma.evil/edge",)),
        "another scheme": replace(good, uris=("https://soma/edge",)),
        "a path behind": replace(good, uris=("spiffe://soma/edge/x",)),
        "a path before": replace(good, uris=("spiffe://soma//edge",)),
        "a query": replace(good, uris=("spiffe://soma/edge?x",)),
        "capitals": replace(good, uris=("spiffe://soma/EDGE",)),
        "nothing behind": replace(good, uris=("spiffe://soma/",)),
        "right name, another id": replace(good, uris=("spiffe://soma/nobody",)),
        "percent encoded": replace(good, uris=("spiffe://soma/%65dge",)),
        "blank behind": replace(good, uris=("spiffe://soma/edge%20",)),
    }  # fmt: skip
    return {name: leaf(ours, shape) for name, shape in shapes.items()}
