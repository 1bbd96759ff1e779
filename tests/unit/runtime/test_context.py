"""The call in progress, and acting for a tenant without a token."""

import contextvars
import time

import pytest

from mesh.runtime.context import CallContext, NoCallError, acting_for, current, current_or_none, enter_call
from mesh.runtime.errors import DeadlineExceeded
from mesh.runtime.outgoing import DEFAULT_SECONDS, OutgoingCall
from mesh.runtime.trace import new_trace
from tests.support.echo.contract import SERVICE, modules

pb, _ = modules()
SAY = OutgoingCall.of(f"/{SERVICE}/Say", "unary_unary")
RELAY = OutgoingCall.of(f"/{SERVICE}/Relay", "unary_unary")
RECITE = OutgoingCall.of(f"/{SERVICE}/Recite", "unary_stream")


def test_there_is_no_call_outside_of_one() -> None:
    assert current_or_none() is None
    with pytest.raises(NoCallError):
        current()


def test_acting_for_a_tenant_lasts_for_the_block() -> None:
    with acting_for(tenant="ten_a", request_id="req_1") as call:
        assert current() is call
        with acting_for(tenant="ten_b"):
            assert current().tenant == "ten_b"
            assert current().request_id == "req_1"
        assert current().tenant == "ten_a"
    assert current_or_none() is None


def test_nobody_acts_for_an_empty_tenant() -> None:
    with pytest.raises(ValueError, match="tenant"), acting_for(tenant=""):
        pass


def test_an_outgoing_call_says_for_whom_it_acts() -> None:
    with acting_for(tenant="ten_a", request_id="req_1") as call:
        sent = dict(RELAY.metadata(None))
        assert "x-soma-tenant" not in dict(SAY.metadata(None))
    assert sent["x-soma-tenant"] == "ten_a"
    assert sent["x-request-id"] == "req_1"
    assert sent["traceparent"] == call.trace.header()
    assert "authorization" not in sent


def test_metadata_that_the_caller_gave_is_kept() -> None:
    sent = dict(SAY.metadata((("authorization", "Bearer own"),)))
    assert sent["authorization"] == "Bearer own"
    assert sent["x-request-id"].startswith("req_")


def test_a_mutation_gets_a_request_id_and_keeps_the_one_it_has() -> None:
    assert SAY.prepare(pb.SayRequest()).request_id.startswith("req_")
    assert SAY.prepare(pb.SayRequest(request_id="mine")).request_id == "mine"


def test_unary_calls_have_a_default_deadline_and_streams_none() -> None:
    assert SAY.timeout(None) == DEFAULT_SECONDS
    assert SAY.timeout(60.0) == 60.0
    assert RECITE.timeout(None) is None


@pytest.mark.parametrize("seconds", [-1.0, 0.0])
def test_a_call_is_not_made_without_time(seconds: float) -> None:
    with acting_for(tenant="ten_a") as call:
        call.deadline = time.monotonic() + seconds
        with pytest.raises(DeadlineExceeded):
            SAY.timeout(None)


def test_no_call_outlives_the_one_it_serves() -> None:
    with acting_for(tenant="ten_a") as call:
        call.deadline = time.monotonic() + 1.0
        for asked in (None, 3.0):
            found = SAY.timeout(asked)
            assert found is not None
            assert 0.5 < found <= 1.0
        assert (RECITE.timeout(None) or 9.0) <= 1.0


def test_what_is_left_never_falls_below_nothing() -> None:
    call = CallContext(method="m", request_id="r", trace=new_trace(), deadline=time.monotonic() - 5)
    assert call.remaining() == 0.0


def test_a_token_goes_on_to_methods_that_take_one_only() -> None:
    call = CallContext(method="m", request_id="r", trace=new_trace(), tenant="ten_a", bearer="the-token")
    run = contextvars.copy_context().run

    def sent(outgoing: OutgoingCall) -> dict[str, str | bytes]:
        enter_call(call)
        return dict(outgoing.metadata(None))

    to_say, to_relay = run(sent, SAY), run(sent, RELAY)
    assert to_say["authorization"] == "Bearer the-token"
    assert "x-soma-tenant" not in to_say
    assert to_relay["x-soma-tenant"] == "ten_a"
    assert "authorization" not in to_relay
