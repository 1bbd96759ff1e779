"""`python -m services.identity.bootstrap [--tenant NAME]`: a tenant, its owner and an API key.

Without a name the first tenant, whose owner is the operator; with one a further tenant.
Idempotent: a repeat prints the same tenant and key. Prints one JSON object, `{tenant, user,
email, api_key, password_file, created}`; the owner's password goes to a file of mode 0600. Needs
SOMA_POSTGRES_URL (the role `identity`) and SOMA_HOME; the service itself need not run.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path
from typing import Final

from pydantic import Field

from mesh.runtime import logging
from mesh.runtime.ids import new_id
from mesh.storage import Database
from services.identity.config import TokenSettings
from services.identity.domain.accounts import Accounts
from services.identity.domain.first_tenant import Bootstrap, Made
from services.identity.passwords import Argon2Passwords
from services.identity.scopes import read_catalogue
from services.identity.signing import KeyRing
from services.identity.wiring import Stores, key_rotation, open_sealer, utc_now

_DEADLINE_SECONDS: Final = 60.0


class BootstrapSettings(TokenSettings):
    """What the command is told."""

    postgres_url: str = Field(repr=False)
    home: Path
    first_tenant_name: str = Field(default="Home", min_length=1, max_length=200)
    first_user_email: str = Field(default="owner@soma.local", min_length=3, max_length=320)


async def bootstrap(settings: BootstrapSettings, name: str | None) -> dict[str, str | bool]:
    """Make or find the first tenant, or the one of that name.

    Raises:
        SomaError, ConfigurationError, DependencyDown: it cannot be made.
    """
    sealer = open_sealer(settings)
    file = settings.home / "secrets" / _password_file(name)
    async with (
        Database.open(
            settings.postgres_url, name="identity-bootstrap", largest=2, start_seconds=30
        ) as database,
        Argon2Passwords() as passwords,
    ):
        # Records stay in the outbox; its worker publishes them.
        stores = Stores(database, settings.postgres_url, lambda _envelope: None)
        ring = KeyRing(sealer, utc_now)
        ring.take(await key_rotation(stores.trust, sealer, settings).ensure())
        accounts = Accounts(
            store=stores.accounts,
            passwords=passwords,
            signer=ring,
            catalogue=read_catalogue(),
            now=utc_now,
            new_id=new_id,
        )
        maker = Bootstrap(accounts=accounts, store=stores.accounts, now=utc_now)
        email, password = settings.first_user_email, _password(file)
        if name is None:
            made = await maker.make_first(
                display_name=settings.first_tenant_name, email=email, password=password
            )
        else:
            made = await maker.make_named(name=name, email=email, password=password)
    return _answer(made, file)


def _answer(made: Made, file: Path) -> dict[str, str | bool]:
    return {
        "tenant": made.tenant.id,
        "user": made.owner.id,
        "email": made.owner.email,
        "api_key": made.secret,
        "password_file": str(file),
        "created": made.created,
    }


def _password_file(name: str | None) -> str:
    if name is None:
        return "first-user-password"
    return f"owner-password-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _password(file: Path) -> str:
    """Return the password of the file, made where there is none: before the user, so that none is lost."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(secrets.token_urlsafe(18) + "\n")
    return file.read_text(encoding="ascii").strip()


async def _within_deadline(settings: BootstrapSettings, name: str | None) -> dict[str, str | bool]:
    async with asyncio.timeout(_DEADLINE_SECONDS):
        return await bootstrap(settings, name)


def main() -> int:
    """Run; a failure is one line on stderr and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m services.identity.bootstrap")
    parser.add_argument("--tenant", metavar="NAME", help="a further tenant of that name")
    name: str | None = parser.parse_args().tenant
    logging.configure(process="identity-bootstrap", level="warning")  # to stderr: stdout is the answer's
    try:
        settings = BootstrapSettings()  # type: ignore[call-arg]  # from the environment
        made = asyncio.run(_within_deadline(settings, name))
    except Exception as error:  # noqa: BLE001  whatever the driver raises: one line for whoever started it
        print(f"bootstrap: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())
