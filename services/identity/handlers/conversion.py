"""Between the wire and the domain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from soma.identity.v1 import resources_pb2, service_pb2

from mesh.runtime.context import current
from mesh.runtime.errors import Unauthenticated
from services.identity import errors
from services.identity.domain.model import ApiKey, Caller, Page, Request, ServiceAccount, User
from services.identity.domain.trust import TrustUpdate
from services.identity.events import key_message, revocation_message, timestamp

_DEFAULT_SIZE: Final = 50
_ID: Final = re.compile(r"(usr|svc|key)_[0-9a-f]{32}\Z")


def caller() -> Caller:
    """Return who the call in progress is from."""
    principal = current().principal
    if principal is None:
        raise Unauthenticated("TOKEN_MISSING", "no bearer token")
    return Caller(principal.subject, principal.tenant, principal.scopes, principal.token_id)


def request() -> Request:
    """Return the name of the call in progress."""
    call = current()
    return Request(call.idempotency_key, call.request_digest)


def page(message: Any) -> Page:
    """Read the part of a list that is wanted.

    Raises:
        InvalidArgument: the page token is none of ours.
    """
    if message.page_token and not _ID.match(message.page_token):
        raise errors.page_token_invalid()
    return Page(message.page_size or _DEFAULT_SIZE, message.page_token)


def next_page(items: Sequence[Any], wanted: Page) -> str:
    """Return the token of what comes after; empty at the end."""
    return str(items[-1].id) if len(items) == wanted.size else ""


def optional_timestamp(moment: datetime | None) -> Timestamp | None:
    """Convert a moment that may be unset."""
    return None if moment is None else timestamp(moment)


def user_message(user: User) -> resources_pb2.User:
    """Convert a user."""
    return resources_pb2.User(
        id=user.id,
        email=user.email,
        display_name=user.display_name,
        scopes=sorted(user.scopes),
        create_time=timestamp(user.create_time),
        disable_time=optional_timestamp(user.disable_time),
    )


def service_account_message(account: ServiceAccount) -> resources_pb2.ServiceAccount:
    """Convert a service account."""
    return resources_pb2.ServiceAccount(
        id=account.id,
        display_name=account.display_name,
        scopes=sorted(account.scopes),
        create_time=timestamp(account.create_time),
    )


def api_key_message(key: ApiKey) -> resources_pb2.ApiKey:
    """Convert a key."""
    return resources_pb2.ApiKey(
        id=key.id,
        display_name=key.display_name,
        subject=key.subject,
        scopes=sorted(key.scopes),
        create_time=timestamp(key.create_time),
        expire_time=timestamp(key.expire_time),
        revoke_time=optional_timestamp(key.revoke_time),
    )


def trust_message(update: TrustUpdate) -> service_pb2.WatchTrustResponse:
    """Convert an update of trust."""
    return service_pb2.WatchTrustResponse(
        keys=[key_message(key) for key in update.keys],
        revocations=[revocation_message(each) for each in update.revocations],
        reset=update.reset,
        version=update.version,
    )
