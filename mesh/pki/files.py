"""Files of one identity, replaced so that a reader never sees the key of another certificate.

A folder looks like a Kubernetes secret volume, so that cert-manager's are read by the same code:

    orchestrator/
      ..data -> ..20261122T161800-5f2c      swapped by one rename
      ..20261122T161800-5f2c/cert.pem       leaf, then intermediate
      ..20261122T161800-5f2c/key.pem        0600
      ..20261122T161800-5f2c/ca.pem         the root
      cert.pem -> ..data/cert.pem           what everybody opens

A reader that wants the pair resolves `..data` once and reads both from there; one that opens
`cert.pem` and `key.pem` apart can meet a swap between the two and must try again.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mesh.pki.errors import UnreadableIdentityError

CURRENT = "..data"
KEPT_VERSIONS = 2


@dataclass(frozen=True, slots=True)
class Identity:
    """What a workload shows (chain), proves with (key) and trusts (root)."""

    chain_pem: bytes
    key_pem: bytes
    ca_pem: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The leaf."""
        return x509.load_pem_x509_certificate(self.chain_pem)


def read_identity(folder: Path) -> Identity:
    """Read a consistent certificate, key and root.

    Raises:
        UnreadableIdentityError: a file is absent or damaged, or the key is not the certificate's.
    """
    while True:
        source = _current(folder)
        try:
            return _read(source)
        except UnreadableIdentityError:
            # Two rotations within one read take the files away; then there are newer ones.
            if _current(folder) == source:
                raise


def _current(folder: Path) -> Path:
    link = folder / CURRENT
    return folder / link.readlink() if link.is_symlink() else folder


def _read(source: Path) -> Identity:
    try:
        identity = Identity(
            chain_pem=(source / "cert.pem").read_bytes(),
            key_pem=(source / "key.pem").read_bytes(),
            ca_pem=(source / "ca.pem").read_bytes(),
        )
        key = load_pem_private_key(identity.key_pem, password=None)
        certified = identity.certificate.public_key()
    except (OSError, ValueError) as error:
        raise UnreadableIdentityError(source, str(error)) from error
    if key.public_key() != certified:
        raise UnreadableIdentityError(source, "key.pem does not belong to cert.pem")
    return identity


def write_identity(folder: Path, identity: Identity, *, now: datetime, keystore: bool) -> None:
    """Put a new version in place with one rename, and drop versions that no reader can hold.

    Args:
        folder: the workload's folder; made where it is absent.
        identity: what to write.
        now: names the version.
        keystore: also write `keystore.pem`, key and chain in one file.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {"cert.pem": identity.chain_pem, "key.pem": identity.key_pem, "ca.pem": identity.ca_pem}
    if keystore:
        files["keystore.pem"] = identity.key_pem + identity.chain_pem
    version = folder / f"..{now:%Y%m%dT%H%M%S%f}-{os.urandom(3).hex()}"
    version.mkdir(mode=0o700)
    for name, content in files.items():
        write_private(version / name, content)
    _point(folder / CURRENT, version.name)
    for name in files:
        if not (folder / name).is_symlink():
            _point(folder / name, f"{CURRENT}/{name}")
    _drop_old_versions(folder)


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, replacing what it was in one step."""
    temporary = link.with_name(f"{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def _drop_old_versions(folder: Path) -> None:
    """Keep the current version and the one before it, which may still be being read."""
    current = _current(folder)
    versions = (p for p in folder.glob("..[0-9]*") if p.is_dir() and not p.is_symlink())
    others = sorted((p for p in versions if p != current), key=lambda p: p.stat().st_mtime_ns)
    for version in others[: 1 - KEPT_VERSIONS]:
        shutil.rmtree(version)
