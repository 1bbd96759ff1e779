"""Sessions: created, found, listed, deleted."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from mesh.events import outbox
from mesh.events.bus import Bus
from mesh.events.records import seal
from mesh.policy import Decisions
from mesh.runtime.clock import Clock
from mesh.runtime.context import current
from mesh.runtime.ids import new_id
from mesh.storage.database import Database
from services.orchestrator import errors, events, store
from services.orchestrator.domain import paging
from services.orchestrator.domain.conversation import Session, Turn
from services.orchestrator.domain.personas import BUILT_IN, DEFAULT
from services.orchestrator.turns import Turns

Item = TypeVar("Item")
_LONGEST_NUMBER = 9
"""Digits of a turn's number in a page token: less than what the store counts to."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and the token of the next ones."""

    items: list[Item]
    next_token: str


class Sessions:
    """The sessions of the caller's tenant."""

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        decisions: Decisions,
        turns: Turns,
        clock: Clock,
    ) -> None:
        """Take where rows and events go."""
        self._database = database
        self._bus = bus
        self._decisions = decisions
        self._turns = turns
        self._clock = clock

    async def create(self, *, persona: str, display_name: str) -> Session:
        """Create a session; a repeat of the request gives the same one.

        Raises:
            NotFound: no such persona.
            PermissionDenied: the policy says no.
            AlreadyExists: REQUEST_ID_REUSED.
        """
        call, name = current(), persona or DEFAULT
        if name not in BUILT_IN:
            raise errors.no_persona(name)
        decision = await self._decisions.decide(
            action="sessions.write", attributes={"resource.type": "session", "resource.persona": name}
        )
        now = self._clock.now()
        session = Session(
            id=new_id("ses"), tenant=call.tenant, persona=name,
            display_name=display_name.replace("\0", ""), turn_count=0, create_time=now, update_time=now,
        )  # fmt: skip
        record = events.audit(
            action="sessions.create",
            actor=call.principal.subject if call.principal else "",
            resource=session.id,
            outcome="allowed",
            now=now,
            tenant=call.tenant,
            decision_id=decision.id,
            policy_version=decision.policy_version,
            details={"persona": name},
        )
        leaving = seal(record)
        async with self._database.transaction(tenant=call.tenant) as connection:
            if not await store.insert_session(
                connection,
                session,
                request_id=call.idempotency_key,
                request_digest=call.request_digest,
                leaving=leaving,
            ):
                existing, digest = await store.session_of_request(connection, call.idempotency_key)
                if digest != call.request_digest:
                    raise errors.request_id_reused(call.idempotency_key)
                return existing
        self._bus.leave((leaving,))
        return session

    async def find(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFound: the tenant has none of that id.
        """
        async with self._database.transaction(tenant=current().tenant, readonly=True) as connection:
            session = await store.session(connection, session_id)
        if session is None:
            raise errors.no_session(session_id)
        return session

    async def page(self, *, size: int, token: str) -> Page[Session]:
        """List sessions, newest first.

        Raises:
            InvalidArgument: the token is none of this list's.
        """
        before, limit = _after("sessions", token), paging.page_size(size)
        async with self._database.transaction(tenant=current().tenant, readonly=True) as connection:
            found = await store.sessions(connection, before=before, limit=limit + 1)
        more = paging.token("sessions", found[limit - 1].id) if len(found) > limit else ""
        return Page(found[:limit], more)

    async def turns(self, session_id: str, *, size: int, token: str) -> Page[Turn]:
        """List the turns of a session, oldest first.

        Raises:
            NotFound: no such session.
            InvalidArgument: the token is none of this list's.
        """
        kind = f"turns of {session_id}"
        place, limit = _after(kind, token), paging.page_size(size)
        if place is not None and (not place.isdecimal() or len(place) > _LONGEST_NUMBER):
            raise errors.bad_page_token()
        async with self._database.transaction(tenant=current().tenant, readonly=True) as connection:
            if await store.session(connection, session_id) is None:
                raise errors.no_session(session_id)
            found = await store.turns(connection, session_id, after=int(place or "0"), limit=limit + 1)
        more = paging.token(kind, str(found[limit - 1].number)) if len(found) > limit else ""
        return Page([await self._turns.current(turn) for turn in found[:limit]], more)

    async def delete(self, session_id: str) -> None:
        """Delete a session with its turns; running ones are cancelled.

        Raises:
            NotFound: no such session.
            PermissionDenied: the policy says no.
        """
        call = current()
        decision = await self._decisions.decide(
            action="sessions.write", attributes={"resource.type": "session"}
        )
        async with self._database.transaction(tenant=call.tenant) as connection:
            running = await store.running_turns(connection, session_id)
            if not await store.delete_session(connection, session_id):
                raise errors.no_session(session_id)
            record = events.audit(
                action="sessions.delete",
                actor=call.principal.subject if call.principal else "",
                resource=session_id,
                outcome="allowed",
                now=self._clock.now(),
                tenant=call.tenant,
                decision_id=decision.id,
                policy_version=decision.policy_version,
                details={"running_turns": str(len(running))},
            )
            leaving = await outbox.put(connection, record)
            for turn_id in running:
                await self._turns.mark_cancelled(call.tenant, turn_id)
        self._bus.leave((leaving,))


def _after(kind: str, token: str) -> str | None:
    try:
        return paging.after(kind, token)
    except ValueError as error:
        raise errors.bad_page_token() from error
