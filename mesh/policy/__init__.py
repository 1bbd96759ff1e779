"""Decisions in process: rules, the engine over them, and the signed bundle they come in.

The package owns what a rule means (`rules`, `conditions`), how a request is decided (`engine`), when a bundle
is believed (`signature`, `store`), how it arrives (`watcher`) and how a call is decided (`decisions`).
It refuses to decide without a bundle that is signed, fresh and understood to the last field.
"""

from mesh.policy.decisions import Decisions
from mesh.policy.engine import Decision, Engine, RuleTrace
from mesh.policy.errors import BundleRefusedError
from mesh.policy.rules import Bundle, Condition, Effect, Operator, Rule
from mesh.policy.store import BundleStore
from mesh.policy.watcher import PolicyWatcher

__all__ = [
    "Bundle",
    "BundleRefusedError",
    "BundleStore",
    "Condition",
    "Decision",
    "Decisions",
    "Effect",
    "Engine",
    "Operator",
    "PolicyWatcher",
    "Rule",
    "RuleTrace",
]
