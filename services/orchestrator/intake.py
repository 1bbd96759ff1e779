"""Takes a turn in: policy, admission, recall, prompt, one transaction, published at once.

Recall runs beside the reads, in the open transaction; one statement then writes
the turn, its place in the session and the outbox rows, so that a turn, its
request and its audit record are there together or not at all. A repeat of a
request finds the turn of the first one, before anything is asked of others.

So many are taken in at once, and no more, by turns of their tenants: a turn holds
a connection while it recalls, and a burst of turns would leave none for calls
that want one for a millisecond.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from soma.errors.v1 import errors_pb2
from soma.slm.v1 import events_pb2 as slm_pb
from soma.slm.v1 import resources_pb2 as models_pb

from mesh.events.bus import Bus
from mesh.events.records import Envelope, Record, seal
from mesh.policy import Decision, Decisions
from mesh.policy.decisions import caller
from mesh.runtime.clock import Clock
from mesh.runtime.context import CallContext, Principal, current
from mesh.runtime.errors import Unavailable
from mesh.runtime.ids import new_id
from mesh.runtime.logging import get_logger
from mesh.runtime.places import Places
from mesh.storage.database import Connection, Database
from mesh.turnlog import Admission, Leases, LogReader, LogUnavailable, QueueFull, TurnKey
from services.orchestrator import errors, events, store
from services.orchestrator.asking import Asked, Draft, Found, RequestWriter
from services.orchestrator.catalogue import Catalogue, queue_of
from services.orchestrator.domain.conversation import Finish, Said, Session, State, Turn
from services.orchestrator.domain.personas import BUILT_IN, Persona
from services.orchestrator.domain.stream import ending_of, opening_of
from services.orchestrator.recall import Recall
from services.orchestrator.tokens import TokenCounter

_log = get_logger(__name__)
ACTION: Final = "turns.create"
_TITLE_CHARACTERS: Final = 60


class _AskedBeforeError(Exception):
    """The request made a turn already: nothing of a second one may be committed."""


class Intake:
    """Takes turns in."""

    def __init__(
        self,
        *,
        database: Database,
        bus: Bus,
        decisions: Decisions,
        recall: Recall,
        catalogue: Catalogue,
        tokens: TokenCounter,
        leases: Leases,
        reader: LogReader,
        admission: Admission,
        clock: Clock,
        turn_seconds: float,
        history_turns: int,
        at_once: int,
    ) -> None:
        """Take what a turn passes through."""
        self._database = database
        self._bus = bus
        self._decisions = decisions
        self._recall = recall
        self._catalogue = catalogue
        self._writer = RequestWriter(tokens=tokens, turn_lasts=timedelta(seconds=turn_seconds))
        self._leases = leases
        self._reader = reader
        self._admission = admission
        self._clock = clock
        self._history_turns = history_turns
        self._places = Places(at_once)

    async def open(self, asked: Asked) -> Turn:
        """Return the turn of the call in progress: a new one, or the one that it made before.

        Raises:
            NotFound: the session, or the persona's model.
            AlreadyExists: REQUEST_ID_REUSED.
            ResourceExhausted: QUEUE_FULL, at once; BUDGET_EXHAUSTED by the prompt alone.
            InvalidArgument: CONTEXT_TOO_LONG.
            Unavailable: policy, memory, models, turn log or database.
        """
        call = current()
        try:
            async with self._places.held(call.tenant):
                turn, leaving = await self._taken(call, asked)
        except _AskedBeforeError:
            return await self._repeated(call, asked)
        self._bus.leave(leaving)
        return turn

    async def _taken(self, call: CallContext, asked: Asked) -> tuple[Turn, list[Envelope]]:
        """Make the turn; raises _AskedBeforeError where the request made one before."""
        taken: tuple[Turn, list[Envelope]] | None = None
        try:
            async with self._database.transaction(tenant=call.tenant) as connection:
                found = await store.session_for_turn(
                    connection, asked.session_id, request_id=call.idempotency_key
                )
                if found is None:
                    raise errors.no_session(asked.session_id)
                session, asked_before = found
                if asked_before:
                    raise _AskedBeforeError
                draft = self._draft(call, asked, session)
                if not draft.decision.allowed:
                    return await self._refuse(connection, draft)
                taken = await self._accept(connection, draft)
        except BaseException:
            if taken is not None:  # the commit failed, or its client went away meanwhile
                queue = slm_pb.GenerationRequest.FromString(taken[0].request).queue
                await asyncio.shield(self._undo(queue, TurnKey(call.tenant, taken[0].id)))
            raise
        return taken

    def _draft(self, call: CallContext, asked: Asked, session: Session) -> Draft:
        principal = caller()
        persona = BUILT_IN.get(session.persona)
        if persona is None:
            raise errors.no_persona(session.persona)
        decision = self._decide(principal, session, persona, asked)
        turn = Turn(
            id=new_id("trn"), tenant=call.tenant, session_id=session.id, number=0,
            state=State.RUNNING, input=asked.text, text="", finish=Finish.NONE,
            input_tokens=0, output_tokens=0, citations=b"", decision_id=decision.id,
            policy_version=decision.policy_version, persona=persona.name, model=persona.model,
            subject=principal.subject, error_reason=0, error_message="", opening=(),
            delta_lengths=(), request=b"", create_time=self._clock.now(), end_time=None,
        )  # fmt: skip
        return Draft(call=call, asked=asked, session=session, persona=persona, decision=decision, turn=turn)

    def _decide(self, principal: Principal, session: Session, persona: Persona, asked: Asked) -> Decision:
        attributes: dict[str, str | int] = {
            "resource.type": "turn",
            "resource.session": session.id,
            "resource.persona": persona.name,
            "resource.model": persona.model,
            "input.characters": len(asked.text),
        }
        return self._decisions.evaluate(principal, action=ACTION, attributes={**attributes})

    async def _refuse(self, connection: Connection, draft: Draft) -> tuple[Turn, list[Envelope]]:
        decision = draft.decision
        turn = replace(
            draft.turn,
            state=State.REFUSED,
            error_reason=errors_pb2.ERROR_REASON_POLICY_DENIED,
            error_message=decision.reason,
            end_time=draft.turn.create_time,
            opening=opening_of(
                turn_id=draft.turn.id, session_id=draft.session.id, queue_position=0, recalled=None
            ),
        )
        leaving = [seal(self._audit(draft, outcome="denied", details={"rule": decision.rule_id}))]
        return await self._insert(connection, draft, turn, leaving), leaving

    async def _accept(self, connection: Connection, draft: Draft) -> tuple[Turn, list[Envelope]]:
        finding = asyncio.ensure_future(self._find(draft))
        accepted = False
        try:
            history = await self._history(connection, draft)
            written = await self._write(connection, draft, await finding, history)
            accepted = True
            return written
        finally:
            if not accepted:
                await asyncio.shield(self._forget(finding, draft))

    async def _forget(self, finding: "asyncio.Task[Found]", draft: Draft) -> None:
        """Leave nothing of a turn that is none."""
        finding.cancel()
        await asyncio.wait((finding,))
        found = not finding.cancelled() and finding.exception() is None
        await self._undo(finding.result().queue if found else "", draft.key)

    async def _undo(self, queue: str, key: TurnKey) -> None:
        """Give a place in the queue back, where there is one, and remove the log that was opened."""
        if queue:
            await self._leave(queue, key)
        try:
            await self._leases.discard_log(key)
        except LogUnavailable as error:
            _log.warning("log of no turn stays until it expires", turn=key.turn_id, cause=str(error))

    async def _leave(self, queue: str, key: TurnKey) -> None:
        """Give a place back; one that cannot be given back now is taken back after the longest stay."""
        try:
            await self._admission.leave(queue, key)
        except LogUnavailable as error:
            raise _log_away(error) from error

    async def _write(
        self, connection: Connection, draft: Draft, found: Found, history: Sequence[Said]
    ) -> tuple[Turn, list[Envelope]]:
        opening = opening_of(
            turn_id=draft.turn.id,
            session_id=draft.session.id,
            queue_position=found.queue_position,
            recalled=found.recalled,
        )
        request = self._writer.request(draft, found, history, opening)
        turn = replace(draft.turn, opening=opening, request=request.SerializeToString())
        leaving = [
            seal(events.generation(turn, request)),
            seal(self._audit(draft, outcome="allowed", details={"model": found.model.name})),
        ]
        # The log is opened beside the rows and before the request leaves: epoch 0 comes first.
        opened = asyncio.ensure_future(self._open_log(draft.key, opening))
        try:
            written = await self._insert(connection, draft, turn, leaving)
        finally:
            await asyncio.wait((opened,))
        opened.result()
        return written, leaving

    async def _open_log(self, key: TurnKey, opening: Sequence[bytes]) -> None:
        try:
            await self._leases.open_log(key, opening)
        except LogUnavailable as error:
            raise _log_away(error) from error

    async def _find(self, draft: Draft) -> Found:
        """Look up the model, take a place in its queue, and recall; beside the database's work."""
        model = await self._catalogue.model(draft.turn.tenant, draft.persona.model)
        queue = queue_of(draft.turn.tenant, model)
        try:
            position = await self._admit(queue, draft.key, slots=model.slots)
            recalled = None
            if draft.recalls:
                extract = model.task == models_pb.TASK_EXTRACT
                recalled = await self._recall.consult(draft.asked.text, extract=extract)
        except BaseException:
            await asyncio.shield(self._leave(queue, draft.key))
            raise
        return Found(model=model, queue=queue, queue_position=position, recalled=recalled)

    async def _admit(self, queue: str, key: TurnKey, *, slots: int) -> int:
        try:
            return await self._admission.admit(queue, key, slots=slots)
        except QueueFull as full:
            raise errors.queue_full(full) from full
        except LogUnavailable as error:
            raise _log_away(error) from error

    async def _insert(
        self, connection: Connection, draft: Draft, turn: Turn, leaving: Sequence[Envelope]
    ) -> Turn:
        number = await store.insert_turn(
            connection,
            turn,
            title=_title(draft),
            request_id=draft.call.idempotency_key,
            request_digest=draft.call.request_digest,
            leaving=leaving,
        )
        if number is None:
            raise _AskedBeforeError  # at the same time, so that it was not seen before
        return replace(turn, number=number)

    async def _repeated(self, call: CallContext, asked: Asked) -> Turn:
        async with self._database.transaction(tenant=call.tenant, readonly=True) as connection:
            found = await store.turn_of_request(connection, call.idempotency_key)
        if found is None:
            raise errors.no_session(asked.session_id)  # it was deleted meanwhile
        turn, digest = found
        if digest != call.request_digest:
            raise errors.request_id_reused(call.idempotency_key)
        return turn

    async def _history(self, connection: Connection, draft: Draft) -> Sequence[Said]:
        if draft.asked.history:
            return draft.asked.history
        if not draft.persona.converses or not draft.session.turn_count or not self._history_turns:
            return ()
        said: list[Said] = []
        for turn in await store.latest_turns(connection, draft.session.id, limit=self._history_turns):
            text = turn.text if not turn.running else await self._text_in_log(turn)
            if text:
                said += [Said("user", turn.input), Said("assistant", text)]
        return said

    async def _text_in_log(self, turn: Turn) -> str:
        """A turn whose end the client has seen may not be committed yet: its log has the text."""
        try:
            snapshot = await self._reader.snapshot(TurnKey(turn.tenant, turn.id))
        except LogUnavailable as error:
            raise _log_away(error) from error
        ending = ending_of([entry.event for entry in snapshot.entries], opening=len(turn.opening))
        return "" if ending is None else ending.text

    def _audit(self, draft: Draft, *, outcome: str, details: dict[str, str]) -> Record[Any]:
        return events.audit(
            action=ACTION,
            actor=draft.turn.subject,
            resource=draft.turn.id,
            outcome=outcome,
            now=draft.turn.create_time,
            tenant=draft.turn.tenant,
            decision_id=draft.decision.id,
            policy_version=draft.decision.policy_version,
            details={"session": draft.session.id, "persona": draft.persona.name, **details},
        )


def _title(draft: Draft) -> str:
    words = " ".join(draft.asked.text.split())
    return words if len(words) <= _TITLE_CHARACTERS else words[: _TITLE_CHARACTERS - 1].rstrip() + "…"


def _log_away(error: LogUnavailable) -> Unavailable:
    return Unavailable("DEPENDENCY_UNAVAILABLE", "the turn log does not answer; try again", retry_after=1.0)
