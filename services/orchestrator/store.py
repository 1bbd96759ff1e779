"""All SQL of the orchestrator. Every function works in the transaction that it is given."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from mesh.events import outbox
from mesh.events.records import Envelope
from mesh.storage.database import Connection
from services.orchestrator.domain.conversation import Ending, Finish, Session, State, Turn

_SESSION: Final = "id, tenant, persona, display_name, turn_count, create_time, update_time"
_TURN: Final = (
    "id, tenant, session_id, number, state, input, text, finish_reason, input_tokens, output_tokens,"
    " citations, decision_id, policy_version, persona, model, subject, error_reason, error_message,"
    " opening, delta_lengths, request, create_time, end_time"
)
_INSERT_SESSION: Final = f"""
    with made as (
        insert into sessions
            (id, tenant, persona, display_name, create_time, update_time, request_id, request_digest)
        values ($1, $2, $3, $4, $5, $5, $6, $7)
        on conflict (tenant, request_id) do nothing
        returning id),
    told as ({outbox.put_beside("made", first=8)})
    select id from made
"""
_SESSION_FOR_TURN: Final = f"""
    select {_SESSION},
        exists (select from turns where tenant = sessions.tenant and request_id = $2) as asked_before
    from sessions where id = $1
"""
# The place in the session, the turn and what tells of it are one statement: where the turn's request id was
# used before, the transaction is to be rolled back, for the session has counted.
_INSERT_TURN: Final = f"""
    with numbered as (
        update sessions
        set turn_count = turn_count + 1, update_time = $11::timestamptz,
            display_name = case when display_name = '' then $18 else display_name end
        where id = $3
        returning turn_count),
    made as (
        insert into turns
            (id, tenant, session_id, number, state, input, decision_id, policy_version, persona, model,
             subject, create_time, request_id, request_digest, error_reason, error_message, opening,
             request, end_time)
        select $1, $2, $3, numbered.turn_count, $4::smallint, $5, $6, $7::bigint, $8, $9,
             $10, $11::timestamptz, $12, $13::bytea, $14::integer, $15, $16::bytea[],
             $17::bytea, $19::timestamptz
        from numbered
        on conflict (tenant, request_id) do nothing
        returning number),
    told as ({outbox.put_beside("made", first=20)})
    select number from made
"""
_END_TURN: Final = f"""
    with ended as (
        update turns
        set state = $2, text = $3, finish_reason = $4, input_tokens = $5, output_tokens = $6,
            delta_lengths = $7, error_reason = $8, error_message = $9, citations = $10, end_time = $11,
            request = null
        where id = $1 and state = 1
        returning id),
    told as ({outbox.put_beside("ended", first=12)})
    select id from ended
"""


async def insert_session(
    connection: Connection, session: Session, *, request_id: str, request_digest: bytes, leaving: Envelope
) -> bool:
    """Write a session and what tells of it; False, and neither, where its request id was used before."""
    row = await connection.fetchrow(
        _INSERT_SESSION,
        *(session.id, session.tenant, session.persona, session.display_name, session.create_time),
        *(request_id, request_digest, *outbox.columns([leaving])),
    )
    return row is not None


async def session_of_request(connection: Connection, request_id: str) -> tuple[Session, bytes]:
    """Return the session that a request made, and the request's digest."""
    row = await connection.fetchrow(
        f"select {_SESSION}, request_digest from sessions where request_id = $1", request_id
    )
    if row is None:
        raise LookupError(request_id)
    return _session(row), row["request_digest"]


async def session(connection: Connection, session_id: str) -> Session | None:
    """Return a session of the transaction's tenant."""
    row = await connection.fetchrow(f"select {_SESSION} from sessions where id = $1", session_id)
    return None if row is None else _session(row)


async def session_for_turn(
    connection: Connection, session_id: str, *, request_id: str
) -> tuple[Session, bool] | None:
    """Return a session of the transaction's tenant, and whether the tenant's request made a turn before."""
    row = await connection.fetchrow(_SESSION_FOR_TURN, session_id, request_id)
    return None if row is None else (_session(row), row["asked_before"])


async def sessions(connection: Connection, *, before: str | None, limit: int) -> list[Session]:
    """Return sessions, newest first, older than the one with id `before`."""
    rows = await connection.fetch(
        f"""select {_SESSION} from sessions
            where tenant = nullif(current_setting('soma.tenant', true), '')
              and ($1::text is null or id < $1)
            order by id desc limit $2""",
        *(before, limit),
    )
    return [_session(row) for row in rows]


async def delete_session(connection: Connection, session_id: str) -> bool:
    """Delete a session with its turns; False where there is none."""
    done = await connection.execute("delete from sessions where id = $1", session_id)
    return done.endswith(" 1")


async def insert_turn(
    connection: Connection,
    turn: Turn,
    *,
    title: str,
    request_id: str,
    request_digest: bytes,
    leaving: Sequence[Envelope],
) -> int | None:
    """Write a turn at the end of its session, and what tells of it; return its place.

    None where its request id was used before, or the session is gone: the transaction must not be committed.
    """
    number: int | None = await connection.fetchval(
        _INSERT_TURN,
        *(turn.id, turn.tenant, turn.session_id, int(turn.state), turn.input, turn.decision_id),
        *(turn.policy_version, turn.persona, turn.model, turn.subject, turn.create_time),
        *(request_id, request_digest, turn.error_reason, turn.error_message, list(turn.opening)),
        *(turn.request or None, title, turn.end_time, *outbox.columns(leaving)),
    )
    return number


async def turn_of_request(connection: Connection, request_id: str) -> tuple[Turn, bytes] | None:
    """Return the turn that a request made, and the request's digest."""
    row = await connection.fetchrow(
        f"""select {_TURN}, request_digest from turns
            where tenant = nullif(current_setting('soma.tenant', true), '') and request_id = $1""",
        request_id,
    )
    return None if row is None else (_turn(row), row["request_digest"])


async def turn(
    connection: Connection, turn_id: str, *, session_id: str | None = None, lock: bool = False
) -> Turn | None:
    """Return a turn of the transaction's tenant, and of a session where one is given."""
    row = await connection.fetchrow(
        f"select {_TURN} from turns where id = $1 and ($2::text is null or session_id = $2)"
        + (" for update" if lock else ""),
        *(turn_id, session_id),
    )
    return None if row is None else _turn(row)


async def turns(connection: Connection, session_id: str, *, after: int, limit: int) -> list[Turn]:
    """Return the turns of a session, oldest first, after the place `after`."""
    rows = await connection.fetch(
        f"select {_TURN} from turns where session_id = $1 and number > $2 order by number limit $3",
        *(session_id, after, limit),
    )
    return [_turn(row) for row in rows]


async def latest_turns(connection: Connection, session_id: str, *, limit: int) -> list[Turn]:
    """Return the last turns of a session that may have words, oldest first."""
    rows = await connection.fetch(
        f"""select {_TURN} from turns
            where session_id = $1 and number > 0 and state in (1, 2)
            order by number desc limit $2""",
        *(session_id, limit),
    )
    return [_turn(row) for row in reversed(rows)]


async def running_turns(connection: Connection, session_id: str) -> list[str]:
    """Return the ids of a session's turns that have not ended."""
    rows = await connection.fetch("select id from turns where session_id = $1 and state = 1", session_id)
    return [row["id"] for row in rows]


async def end_turn(
    connection: Connection,
    turn_id: str,
    ending: Ending,
    *,
    citations: bytes,
    now: datetime,
    leaving: Sequence[Envelope],
) -> bool:
    """Write how a turn ended, and what tells of it; False, and neither, where that was written before."""
    row = await connection.fetchrow(
        _END_TURN,
        *(turn_id, int(ending.state), ending.text, int(ending.finish), ending.input_tokens),
        *(ending.output_tokens, list(ending.delta_lengths), ending.error_reason),
        *(ending.error_message, citations, now, *outbox.columns(leaving)),
    )
    return row is not None


async def try_lock(connection: Connection, number: int) -> bool:
    """Take an advisory lock for the rest of the transaction; False where another one has it."""
    return bool(await connection.fetchval("select pg_try_advisory_xact_lock($1)", number))


async def overdue_turns(connection: Connection, *, older_than: float, limit: int) -> Sequence[Turn]:
    """Return turns of all tenants that have run for some seconds, oldest first."""
    rows = await connection.fetch(
        f"""select {_TURN} from turns
            where state = 1 and create_time < clock_timestamp() - make_interval(secs => $1)
            order by create_time limit $2""",
        *(older_than, limit),
    )
    return [_turn(row) for row in rows]


def _session(row: Any) -> Session:
    return Session(
        id=row["id"],
        tenant=row["tenant"],
        persona=row["persona"],
        display_name=row["display_name"],
        turn_count=row["turn_count"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _turn(row: Any) -> Turn:
    return Turn(
        id=row["id"],
        tenant=row["tenant"],
        session_id=row["session_id"],
        number=row["number"],
        state=State(row["state"]),
        input=row["input"],
        text=row["text"],
        finish=Finish(row["finish_reason"]),
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        citations=row["citations"],
        decision_id=row["decision_id"],
        policy_version=row["policy_version"],
        persona=row["persona"],
        model=row["model"],
        subject=row["subject"],
        error_reason=row["error_reason"],
        error_message=row["error_message"],
        opening=tuple(row["opening"]),
        delta_lengths=tuple(row["delta_lengths"]),
        request=row["request"] or b"",
        create_time=row["create_time"],
        end_time=row["end_time"],
    )
