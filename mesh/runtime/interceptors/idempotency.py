"""The request id of mutations: filled in where missing, with a digest of the rest of the request.

Stores keep both beside what they create; the same id with another digest is
refused there (REQUEST_ID_REUSED). So the digest's form is part of what is stored:
with another one, every repeat of an older request would be refused.
"""

from hashlib import sha256
from typing import Any

from google.protobuf.message import Message
from soma.options.v1 import options_pb2

from mesh.runtime.context import CallContext
from mesh.runtime.contract import MethodContract
from mesh.runtime.errors import ConfigurationError
from mesh.runtime.hooks import NOTHING, Hooks
from mesh.runtime.ids import new_id


class Idempotency:
    """Names each mutation, so that a repeat of it can be told from a second one."""

    def bind(self, contract: MethodContract) -> Hooks:
        """Work only on methods that are idempotent by request id."""
        if contract.idempotency != options_pb2.IDEMPOTENCY_REQUEST_ID:
            return NOTHING
        if not contract.takes_request_id:
            raise ConfigurationError(f"{contract.path}: its request has no field request_id")
        return Hooks(inspect=_name)


def _name(call: CallContext, message: Message) -> None:
    request: Any = message
    request_id = request.request_id or new_id("req")
    request.request_id = ""
    call.request_digest = sha256(message.SerializeToString(deterministic=True)).digest()
    request.request_id = call.idempotency_key = request_id
