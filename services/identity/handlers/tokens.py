"""soma.identity.v1.Tokens."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import empty_pb2
from soma.identity.v1 import service_pb2, service_pb2_grpc

from mesh.runtime.context import current
from services.identity.domain.signin import Issued, SignIn
from services.identity.handlers.conversion import caller

_EDGE: Final = "edge"
_FORWARDED: Final = "x-forwarded-for"
_BEARER: Final = "Bearer"


class Tokens(service_pb2_grpc.TokensServicer):
    """Short-lived tokens."""

    def __init__(self, signin: SignIn) -> None:
        """Serve these grants."""
        self._signin = signin

    async def IssueToken(
        self, message: service_pb2.IssueTokenRequest, context: Any
    ) -> service_pb2.IssueTokenResponse:
        """Give tokens for a password or a refresh token."""
        if message.WhichOneof("grant") == "refresh":
            return _issued(
                await self._signin.with_refresh_token(
                    token=message.refresh.refresh_token, scopes=message.scopes
                )
            )
        return _issued(
            await self._signin.with_password(
                tenant=message.password.tenant_id,
                email=message.password.email,
                password=message.password.password,
                scopes=message.scopes,
                address=_address(context),
            )
        )

    async def RevokeToken(self, message: service_pb2.RevokeTokenRequest, _context: Any) -> empty_pb2.Empty:
        """Revoke the calling token or a refresh token."""
        await self._signin.revoke(caller(), message.refresh_token)
        return empty_pb2.Empty()

    async def WhoAmI(self, _message: service_pb2.WhoAmIRequest, _context: Any) -> service_pb2.WhoAmIResponse:
        """Tell who the caller is."""
        principal = current().principal
        who = caller()
        return service_pb2.WhoAmIResponse(
            subject=who.subject,
            kind=principal.kind if principal else "",
            tenant=who.tenant,
            scopes=sorted(who.scopes),
        )


def _issued(issued: Issued) -> service_pb2.IssueTokenResponse:
    return service_pb2.IssueTokenResponse(
        access_token=issued.access_token,
        expires_in=int(issued.expires_in.total_seconds()),
        refresh_token=issued.refresh_token,
        token_type=_BEARER,
        scopes=sorted(issued.scopes),
    )


def _address(context: Any) -> str:
    """Return the client's address as the edge saw it, else the peer's.

    The edge appends whom it talks to; whatever stands before that is the client's own word.
    """
    if current().caller == _EDGE:
        for key, value in context.invocation_metadata() or ():
            if key == _FORWARDED and isinstance(value, str):
                return value.rpartition(",")[2].strip()
    # "ipv4:127.0.0.1:51234": the port changes with each connection.
    return str(context.peer()).rpartition(":")[0]
