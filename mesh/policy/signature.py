"""Signed bundles: Ed25519 (RFC 8032) over the exact bytes, and the files the keys stand in.

A receiver verifies the bytes before it reads them. The key's id is the beginning of the SHA-256 of the raw
public key, so that it cannot name another key than it says.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from soma.policy.v1 import resources_pb2 as pb

from mesh.policy.errors import BundleRefusedError
from mesh.runtime.errors import ConfigurationError

_END: Final = b"-----END PUBLIC KEY-----"
_KEY_ID_HEX: Final = 16


def key_id(key: Ed25519PublicKey) -> str:
    """Give the id of a key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_KEY_ID_HEX]


class Signer:
    """Signs bundles with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Take the key."""
        self._key = key
        self.key_id = key_id(key.public_key())

    @classmethod
    def open(cls, private: Path, public: Path) -> "Signer":
        """Read the key, or make it where the file does not exist; the public part is written beside.

        Raises:
            ConfigurationError: the file holds no Ed25519 key.
            OSError: a file cannot be read or written.
        """
        if not private.exists():
            _create(private)
        try:
            key = serialization.load_pem_private_key(private.read_bytes(), password=None)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise ConfigurationError(f"{private} holds no private key") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError(f"{private} holds no Ed25519 key")
        pem = public_pem(key.public_key())
        if not public.exists() or pem not in public.read_bytes():
            _replace(public, pem, mode=0o644)
        return cls(key)

    def sign(self, bundle: bytes) -> pb.SignedBundle:
        """Sign a serialized bundle."""
        return pb.SignedBundle(bundle=bundle, signature=self._key.sign(bundle), key_id=self.key_id)


class Verifier:
    """Verifies bundles with the public keys of one file."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        """Take the keys."""
        self._keys = {key_id(key): key for key in keys}

    @classmethod
    def read(cls, path: Path) -> "Verifier":
        """Read a file of one or more PEM public keys.

        Raises:
            BundleRefusedError: the file is absent or holds something else.
        """
        try:
            blocks = path.read_bytes().split(_END)[:-1]
            keys = [serialization.load_pem_public_key(block + _END + b"\n") for block in blocks]
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise BundleRefusedError(f"the public key cannot be read: {error}") from error
        found = [key for key in keys if isinstance(key, Ed25519PublicKey)]
        if not found or len(found) != len(keys):
            raise BundleRefusedError(f"{path} holds no Ed25519 public key")
        return cls(found)

    def verify(self, signed: pb.SignedBundle) -> bytes:
        """Give the bytes that were signed.

        Raises:
            BundleRefusedError: it is unsigned, or signed by another key.
        """
        if not signed.signature:
            raise BundleRefusedError("it is not signed")
        key = self._keys.get(signed.key_id)
        if key is None:
            raise BundleRefusedError(f"no public key has the id {signed.key_id!r}")
        try:
            key.verify(signed.signature, signed.bundle)
        except InvalidSignature as error:
            raise BundleRefusedError(f"its signature is not that of key {signed.key_id}") from error
        return signed.bundle


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Write a public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _create(path: Path) -> None:
    """Make a private key; of two processes that do so at once, one wins and both read its file."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = _draft(path, pem, mode=0o600)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    _draft(path, content, mode=mode).replace(path)


def _draft(path: Path, content: bytes, *, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return draft
