"""Coarse authorization at the edge, generated from the methods' annotations.

Two RBAC filters. `soma.revocations` denies revoked tokens; its list changes often, so it comes with
the routes. `soma.scopes` allows a call whose token holds the method's scope; it denies whatever a
route says nothing about. Fine decisions are the services' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.envoy.typed import HTTP_FILTERS, Resource, extension, typed

if TYPE_CHECKING:
    from mesh.envoy.contract import Method
    from mesh.envoy.snapshot import Snapshot

JWT_FILTER = "envoy.filters.http.jwt_authn"
CLAIMS = "claims"
REVOCATIONS_FILTER = "soma.revocations"
SCOPES_FILTER = "soma.scopes"
# Set by the JWT filter from the verified token, never taken from a client, never sent upstream.
TOKEN_ID_HEADER = "x-soma-token-id"  # noqa: S105 - a header's name, not a secret
REVOKED_POLICY = "revoked"

_RBAC = f"{HTTP_FILTERS}.rbac.v3.RBAC"
_PER_ROUTE = f"{HTTP_FILTERS}.rbac.v3.RBACPerRoute"
_ACTION = "envoy.config.rbac.v3.Action"


def revocations_filter() -> Resource:
    """The filter; without a list from the routes it lets everything pass to the next one."""
    return extension(REVOCATIONS_FILTER, _RBAC)


def scopes_filter() -> Resource:
    """The filter; without a policy from the route it denies."""
    return extension(SCOPES_FILTER, _RBAC, rules={"action": "ALLOW"})


def revocations(snapshot: Snapshot) -> Resource:
    """Deny the revoked tokens: one look into a hash map, however many there are."""
    if not snapshot.revoked:
        return {}
    deny = {"action": _rbac_action(REVOKED_POLICY, "DENY")}
    matcher = {
        "matcher_tree": {
            "input": extension(
                "token-id",
                "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
                header_name=TOKEN_ID_HEADER,
            ),
            "exact_match_map": {"map": dict.fromkeys(snapshot.revoked, deny)},
        },
        "on_no_match": {"action": _rbac_action("passes", "ALLOW")},
    }
    return {REVOCATIONS_FILTER: typed(_PER_ROUTE, rbac={"matcher": matcher})}


def scope_policy(method: Method) -> Resource:
    """Allow the calls whose token holds the method's scope, or all calls of a public method."""
    return (
        _allow("public", {"any": True}) if method.public else _allow(method.scope, _holds_scope(method.scope))
    )


def no_scope() -> Resource:
    """Allow all calls of a route that is no method of ours."""
    return _allow("public", {"any": True})


def no_token() -> Resource:
    """Ask for no token on this route."""
    return {JWT_FILTER: typed(f"{HTTP_FILTERS}.jwt_authn.v3.PerRouteConfig", disabled=True)}


def _allow(name: str, principal: Resource) -> Resource:
    policy = {"permissions": [{"any": True}], "principals": [principal]}
    rules = {"action": "ALLOW", "policies": {name: policy}}
    return {SCOPES_FILTER: typed(_PER_ROUTE, rbac={"rules": rules})}


def _holds_scope(scope: str) -> Resource:
    matcher = {
        "filter": JWT_FILTER,
        "path": [{"key": CLAIMS}, {"key": "scope"}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": scope}}}},
    }
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}


def _rbac_action(name: str, action: str) -> Resource:
    return extension(name, _ACTION, name=name, action=action)
