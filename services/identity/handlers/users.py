"""soma.identity.v1.Users."""

from __future__ import annotations

from typing import Any

from soma.identity.v1 import resources_pb2, service_pb2, service_pb2_grpc

from services.identity.domain.accounts import Accounts, NewUser
from services.identity.handlers.conversion import caller, next_page, page, request, user_message


class Users(service_pb2_grpc.UsersServicer):
    """Users."""

    def __init__(self, accounts: Accounts) -> None:
        """Serve these accounts."""
        self._accounts = accounts

    async def CreateUser(self, message: service_pb2.CreateUserRequest, _context: Any) -> resources_pb2.User:
        """Create a user."""
        new = NewUser(
            email=message.email,
            password=message.password,
            display_name=message.display_name,
            scopes=frozenset(message.scopes),
        )
        return user_message(await self._accounts.create_user(caller(), request(), new))

    async def GetUser(self, message: service_pb2.GetUserRequest, _context: Any) -> resources_pb2.User:
        """Return a user."""
        return user_message(await self._accounts.user(caller(), message.user_id))

    async def ListUsers(
        self, message: service_pb2.ListUsersRequest, _context: Any
    ) -> service_pb2.ListUsersResponse:
        """List users."""
        wanted = page(message)
        found = await self._accounts.users(caller(), wanted)
        return service_pb2.ListUsersResponse(
            users=[user_message(user) for user in found], next_page_token=next_page(found, wanted)
        )

    async def DisableUser(self, message: service_pb2.DisableUserRequest, _context: Any) -> resources_pb2.User:
        """Disable a user."""
        return user_message(await self._accounts.disable_user(caller(), message.user_id))
