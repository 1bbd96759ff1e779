"""The folder `$SOMA_HOME/pki`: opens or makes the authorities and keeps every leaf young."""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mesh.pki.authority import (
    LEAF_LIFETIME,
    Authority,
    issue_leaf,
    make_intermediate,
    make_root,
)
from mesh.pki.errors import NoAuthorityError, UnreadableIdentityError
from mesh.pki.files import Identity, read_identity, write_identity, write_private
from mesh.pki.workloads import WORKLOADS, Workload


class PkiFolder:
    """The authorities and leaves of one installation.

    Every writer holds an exclusive lock on the folder, so that the launcher's `init` and the
    control plane's renewals may run at the same time.
    """

    def __init__(self, path: Path, *, leaf_lifetime: timedelta = LEAF_LIFETIME) -> None:
        self.path = path
        self._leaf_lifetime = leaf_lifetime

    @property
    def ca_file(self) -> Path:
        """The root certificate: what clients trust."""
        return self.path / "ca.pem"

    def workload_folder(self, name: str) -> Path:
        """The folder that a workload reads."""
        return self.path / name

    def initialise(self, *, now: datetime | None = None) -> list[str]:
        """Make what is absent and renew what is past half of its life.

        Safe to run again, and with the root's key kept elsewhere as long as the intermediate is
        young enough.

        Returns:
            The names of the workloads that got a new certificate.

        Raises:
            NoAuthorityError: something must be signed and the key for it is not here.
        """
        now = now or datetime.now(UTC)
        with self._locked():
            issuer_is_new = self._ensure_authorities(now=now)
            due = [w for w in WORKLOADS if issuer_is_new or self._is_due(w, now=now)]
            self._issue(due, now=now)
            return [workload.name for workload in due]

    def rotate(self, workloads: Iterable[Workload], *, now: datetime | None = None) -> list[str]:
        """Issue new leaves for these workloads whatever the age of the old ones."""
        now = now or datetime.now(UTC)
        chosen = list(workloads)
        with self._locked():
            self._ensure_authorities(now=now)
            self._issue(chosen, now=now)
        return [workload.name for workload in chosen]

    def next_renewal(self, *, now: datetime | None = None) -> datetime:
        """When the first leaf reaches half of its life; now, where one is absent."""
        now = now or datetime.now(UTC)
        moments = [now]
        for workload in WORKLOADS:
            certificate = self._certificate(workload)
            if certificate is None:
                return now
            moments.append(half_life(certificate))
        return min(moments[1:])

    def _issue(self, workloads: list[Workload], *, now: datetime) -> None:
        if not workloads:
            return
        issuer = self._load("intermediate")
        ca_pem = self.ca_file.read_bytes()
        for workload in workloads:
            leaf = issue_leaf(issuer, workload, now=now, lifetime=self._leaf_lifetime)
            identity = Identity(leaf.chain_pem, leaf.key_pem, ca_pem)
            folder = self.workload_folder(workload.name)
            write_identity(folder, identity, now=now, keystore=workload.keystore)

    def _ensure_authorities(self, *, now: datetime) -> bool:
        """Make root and intermediate where absent or old; tell whether the intermediate is new."""
        root_pem = self.path / "root.pem"
        if not root_pem.exists():
            root = make_root(now=now)
            write_private(self.path / "root.key", root.key_pem)
            write_private(root_pem, root.pem)
        if not self.ca_file.exists() or self.ca_file.read_bytes() != root_pem.read_bytes():
            write_private(self.ca_file, root_pem.read_bytes())
        intermediate = self.path / "intermediate.pem"
        if intermediate.exists():
            certificate = x509.load_pem_x509_certificate(intermediate.read_bytes())
            offline = not (self.path / "root.key").exists()
            if now < (certificate.not_valid_after_utc if offline else half_life(certificate)):
                return False
        made = make_intermediate(self._load("root"), now=now)
        write_private(self.path / "intermediate.key", made.key_pem)
        write_private(intermediate, made.pem)
        return True

    def _load(self, name: str) -> Authority:
        key_path = self.path / f"{name}.key"
        if not key_path.exists():
            raise NoAuthorityError(key_path)
        certificate = x509.load_pem_x509_certificate((self.path / f"{name}.pem").read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise UnreadableIdentityError(key_path, "not an elliptic curve key")
        if key.public_key() != certificate.public_key():
            raise UnreadableIdentityError(key_path, f"does not belong to {name}.pem")
        return Authority(certificate, key)

    def _is_due(self, workload: Workload, *, now: datetime) -> bool:
        certificate = self._certificate(workload)
        return (
            certificate is None or now >= half_life(certificate) or not _carries_names(certificate, workload)
        )

    def _certificate(self, workload: Workload) -> x509.Certificate | None:
        try:
            return read_identity(self.workload_folder(workload.name)).certificate
        except UnreadableIdentityError:
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def half_life(certificate: x509.Certificate) -> datetime:
    """The moment at which half of a certificate's life is over."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) / 2


def _carries_names(certificate: x509.Certificate, workload: Workload) -> bool:
    """Whether an older certificate still says all that this release expects of it."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    expected = {workload.server_name, *workload.names}
    return expected <= set(names.get_values_for_type(x509.DNSName)) and set(workload.addresses) <= set(
        names.get_values_for_type(x509.IPAddress)
    )
