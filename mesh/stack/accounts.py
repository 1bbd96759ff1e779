"""The unprivileged account that Postgres runs as where the launcher is root.

Postgres refuses to run as root. Root's launcher therefore runs it as `postgres` (or `nobody`), with
binaries and data where that account can get to.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

SHARED = Path("/var/lib/soma")


@dataclass(frozen=True, slots=True)
class Account:
    """A user and its first group."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """Give the account for Postgres, or None where the launcher is no root itself."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known.get("nobody")
    return Account(entry.pw_uid, entry.pw_gid) if entry else Account(65534, 65534)


def reachable(path: Path, account: Account) -> bool:
    """Tell whether the account may walk to the path: search permission on every folder above it.

    What the path itself is does not matter; it may be a link to somewhere else.
    """
    place = path.parent.resolve() / path.name
    return all(_searchable(folder.stat(), account) for folder in place.parents)


def _searchable(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def substitute(path: Path) -> Path:
    """Give the place, reachable by anyone, that stands in for a path below a closed folder."""
    return SHARED / hashlib.sha256(str(path).encode()).hexdigest()[:16]
