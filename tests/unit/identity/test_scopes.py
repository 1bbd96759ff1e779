"""Who may be given which scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.errors import SomaError
from services.identity.domain.scopes import OPERATOR_SCOPES, ScopeCatalogue
from services.identity.scopes import read_catalogue

ALL = frozenset({"a.read", "a.write", "b.read", "tenants.create"})
some = st.frozensets(st.sampled_from(sorted(ALL)))


@given(wanted=some, held=some, default=some)
def test_nothing_is_ever_granted_that_is_not_held(
    wanted: frozenset[str], held: frozenset[str], default: frozenset[str]
) -> None:
    catalogue = ScopeCatalogue(ALL)
    asked = wanted or default
    if asked <= held:
        assert catalogue.grant(wanted, held=held, default=default) == asked
        return
    with pytest.raises(SomaError) as caught:
        catalogue.grant(wanted, held=held, default=default)
    assert caught.value.reason == "SCOPE_MISSING"


def test_scopes_that_no_method_needs_are_unknown() -> None:
    with pytest.raises(SomaError) as caught:
        ScopeCatalogue(ALL).grant({"world.rule"}, held=ALL | {"world.rule"}, default=frozenset())
    assert caught.value.reason == "INVALID_ARGUMENT"


def test_only_the_operator_gets_the_operators_scopes() -> None:
    catalogue = ScopeCatalogue(ALL)
    assert catalogue.of_owner(operator=True) == ALL
    assert catalogue.of_owner(operator=False) == ALL - OPERATOR_SCOPES


def test_the_catalogue_is_what_the_contracts_say() -> None:
    found = read_catalogue().all
    assert found >= OPERATOR_SCOPES
    assert {"turns.create", "sessions.write", "memories.read", "models.use", "policy.evaluate"} <= found
    assert "" not in found
