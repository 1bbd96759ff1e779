"""Secrets at rest: AES-256-GCM under a key that lies in a file, never in the database.

A sealed value is a version byte, a nonce of 12 bytes, and the ciphertext with its
tag (NIST SP 800-38D). The associated data names what was sealed, so that a value cannot be
moved to another row.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.runtime.errors import ConfigurationError

_VERSION: Final = b"\x01"
_NONCE: Final = 12
_KEY: Final = 32


class SealBroken(Exception):
    """The value was sealed with another key, for another place, or was changed."""


class Sealer:
    """Seals and opens values with one key."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes."""
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, *, place: str) -> bytes:
        """Return the sealed value; only the same `place` opens it."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, value, place.encode())

    def open(self, sealed: bytes, *, place: str) -> bytes:
        """Return the value.

        Raises:
            SealBroken: it cannot be opened.
        """
        if sealed[:1] != _VERSION:
            raise SealBroken("the value has an unknown form")
        nonce, ciphertext = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, ciphertext, place.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken("the value was sealed with another key or for another place") from error


def read_sealer(path: Path, *, create: bool) -> Sealer:
    """Read the key from a file of 64 hexadecimal digits and mode 0600.

    Args:
        path: the file.
        create: make it where there is none; processes that do so at once get the same key.

    Raises:
        ConfigurationError: the file is absent, is readable by others, or holds no key.
    """
    if create and not path.exists():
        _create(path)
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} may be read by others: chmod 600 {path}")
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} holds no key of {2 * _KEY} hexadecimal digits") from error
    if len(key) != _KEY:
        raise ConfigurationError(f"{path} holds no key of {2 * _KEY} hexadecimal digits")
    return Sealer(key)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name exists: who comes second takes the first one's key.
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink()
