"""Random bundles and requests from a small world, so that rules and requests meet often."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from mesh.policy.rules import Bundle, Condition, Effect, Operator, Rule
from mesh.runtime.context import Principal

ISSUED = datetime(2026, 1, 1, tzinfo=UTC)
TENANTS = ("acme", "globex")
SCOPES = ("turns.create", "turns.read", "sessions.read")
ACTIONS = (*SCOPES, "turns.cancel", "unheard.of")
PATTERNS = ("turns.create", "turns.read", "turns.*", "sessions.*", "*", "*")
WORDS = ("guide", "7", "user", "true", "acme", "turns.read", "nan")
ATTRIBUTES = ("resource.persona", "resource.tokens")
PRINCIPAL = ("principal.subject", "principal.kind", "principal.tenant", "principal.scopes")

values = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-20, 20),
    st.sampled_from((0.5, 12.5, -3.25, float("inf"), float("nan"))),
    st.booleans(),
    st.lists(st.sampled_from(WORDS), max_size=3).map(tuple),
    st.frozensets(st.sampled_from(WORDS), max_size=3),
)
attributes = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*ATTRIBUTES, "principal.kind", "principal.tenant"), values)
)
principals = st.builds(
    Principal,
    subject=st.sampled_from(("usr_1", "guide")),
    kind=st.sampled_from(("user", "api_key")),
    tenant=st.sampled_from((*TENANTS, "unnamed")),
    scopes=st.frozensets(st.sampled_from((*SCOPES, "unnamed.scope"))),
    token_id=st.just("tok"),
)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """Make a condition that a bundle may hold."""
    operator = draw(st.sampled_from(Operator))
    bounds = st.sampled_from(("7", "-1.5", "12.5")).map(lambda each: (each,))
    words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)
    return Condition(
        attribute=draw(st.sampled_from((*ATTRIBUTES, *ATTRIBUTES, *PRINCIPAL))),
        operator=operator,
        values=draw(bounds if operator.numeric else words),
    )


@st.composite
def rules(draw: st.DrawFn, *, effect: Effect | None = None) -> Rule:
    """Make a rule; few ids, so that a bundle is made of those that differ."""
    return Rule(
        id=draw(st.integers(0, 999).map("r{:03}".format)),
        effect=effect or draw(st.sampled_from(Effect)),
        actions=tuple(draw(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3))),
        tenants=draw(st.one_of(st.just(frozenset()), st.frozensets(st.sampled_from(TENANTS), max_size=2))),
        scopes=draw(st.one_of(st.just(frozenset()), st.frozensets(st.sampled_from(SCOPES), max_size=2))),
        conditions=tuple(draw(st.lists(conditions(), max_size=2))),
    )


def bundle_of(found: list[Rule], version: int = 1) -> Bundle:
    """Put rules into a bundle."""
    return Bundle(
        version=version,
        rules=tuple(found),
        issue_time=ISSUED,
        expire_time=ISSUED + timedelta(minutes=10),
    )


rule_lists = st.lists(rules(), max_size=12, unique_by=lambda rule: rule.id)
