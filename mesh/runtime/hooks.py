"""What an interceptor is: up to three plain functions per method, bound once.

`mesh.runtime.handlers` runs them around a handler: every `admit` before the
first message is looked at, every `inspect` on each request message, every
`finish` at the end whatever happened. None of them awaits, so that the chain
costs calls of functions and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import grpc
import grpc.aio
from google.protobuf.message import Message

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract

Metadata = Mapping[str, str | bytes]
# The value of a name that came more than once: no text, so that nothing is decided by one of several.
REPEATED: Final = b""
ServicerContext = grpc.aio.ServicerContext[Any, Any]
# A grpc.RpcMethodHandler: generic in its stubs only, so it cannot be named with its arguments.
Handler = Any
Admit = Callable[[CallContext, Metadata, ServicerContext], None]
Inspect = Callable[[CallContext, Message], None]


class Outcome(NamedTuple):
    """How a call ended."""

    code: grpc.StatusCode
    seconds: float
    reason: str = ""


Finish = Callable[[CallContext, Outcome], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """The functions of one interceptor for one method."""

    admit: Admit | None = None
    inspect: Inspect | None = None
    finish: Finish | None = None


NOTHING = Hooks()


class Interceptor(Protocol):
    """One concern of the chain."""

    def bind(self, contract: MethodContract) -> Hooks:
        """Return what to do for this method; raises ConfigurationError for a bad contract."""
        ...


def metadata_of(context: ServicerContext) -> Metadata:
    """Return what came with a call; a name that came more than once is `REPEATED`."""
    pairs: Any = context.invocation_metadata()
    found: dict[str, str | bytes] = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found[name] = REPEATED
            seen.add(name)
    return found


def text(metadata: Metadata, key: str) -> str:
    """Return a metadata value as text; an empty string where it is absent, repeated or not ASCII."""
    value = metadata.get(key, "")
    return value if isinstance(value, str) else ""
