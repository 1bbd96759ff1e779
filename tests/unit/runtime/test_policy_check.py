"""Which methods the policy decides, and that none of them starts undecided."""

import pytest
from soma.memory.v1 import service_pb2

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract, contract_of
from mesh.runtime.errors import ConfigurationError, PermissionDenied
from mesh.runtime.hooks import NOTHING
from mesh.runtime.interceptors.policy import PolicyCheck
from mesh.runtime.trace import new_trace

MEMORIES = service_pb2.DESCRIPTOR.services_by_name["Memories"]


class Asked:
    """Remembers what it was asked, and refuses when told to."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.actions: list[str] = []
        self._refuses = refuses

    def admit(self, call: CallContext, action: str) -> None:
        self.actions.append(action)
        if self._refuses:
            raise PermissionDenied("POLICY_DENIED", "no")


def contract(name: str) -> MethodContract:
    found = contract_of(MEMORIES.methods_by_name[name])
    assert found is not None
    return found


def call() -> CallContext:
    return CallContext(method="/a/B", request_id="r", trace=new_trace())


def test_the_action_is_the_scope_of_the_method() -> None:
    asked = Asked()
    admit = PolicyCheck(asked).bind(contract("Remember")).admit
    assert admit is not None
    admit(call(), {}, None)  # type: ignore[arg-type]  # the context is not looked at
    assert asked.actions == ["memories.write"]


def test_a_refusal_ends_the_call() -> None:
    admit = PolicyCheck(Asked(refuses=True)).bind(contract("Recall")).admit
    assert admit is not None
    with pytest.raises(PermissionDenied):
        admit(call(), {}, None)  # type: ignore[arg-type]  # the context is not looked at


def test_a_method_of_workloads_is_not_asked_about() -> None:
    assert PolicyCheck(None).bind(contract("RememberTurn")) is NOTHING


def test_a_method_that_decides_itself_is_left_to_it() -> None:
    recall = contract("Recall")
    check = PolicyCheck(Asked(), decides_itself=(recall.path,))
    assert check.bind(recall) is NOTHING
    assert check.bind(contract("Remember")).admit is not None


@pytest.mark.parametrize("decides_itself", [(), (contract("Recall").path,)])
def test_a_method_with_a_token_does_not_start_without_decisions(decides_itself: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="decide_with"):
        PolicyCheck(None, decides_itself=decides_itself).bind(contract("Recall"))


def test_nobody_decides_itself_without_a_token() -> None:
    turn = contract("RememberTurn")
    with pytest.raises(ConfigurationError, match="no token"):
        PolicyCheck(Asked(), decides_itself=(turn.path,)).bind(turn)
