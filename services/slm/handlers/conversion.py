"""Between the wire and the domain."""

from __future__ import annotations

import enum
from typing import Final, TypeVar

from soma.slm.v1 import resources_pb2

from services.slm import errors
from services.slm.domain.model import Dialect, Health, Model, Provider, Task
from services.slm.events import timestamp

Value = TypeVar("Value", bound=enum.IntEnum)
_UNSPECIFIED: Final = 0


def model_message(model: Model) -> resources_pb2.Model:
    """Convert a profile."""
    return resources_pb2.Model(
        name=model.name,
        provider=resources_pb2.Provider.ValueType(model.provider),
        task=resources_pb2.Task.ValueType(model.task),
        provider_model=model.provider_model,
        base_url=model.base_url,
        dialect=resources_pb2.Dialect.ValueType(model.dialect),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        slots=model.slots,
        description=model.description,
        built_in=model.built_in,
        bootstrap=model.bootstrap,
        create_time=None if model.create_time is None else timestamp(model.create_time),
        has_api_key=model.has_api_key,
    )


def model_of(message: resources_pb2.Model) -> Model:
    """Read a profile that is to be made; output-only fields are ignored.

    Raises:
        InvalidArgument: an enum's value is not known.
    """
    return Model(
        name=message.name,
        provider=_known(Provider, message.provider, "provider"),
        task=_known(Task, message.task or Task.GENERATE, "task"),
        provider_model=message.provider_model,
        base_url=message.base_url,
        dialect=_known(Dialect, message.dialect or Dialect.VLLM, "dialect"),
        context_tokens=message.context_tokens,
        max_output_tokens=message.max_output_tokens,
        slots=message.slots,
        description=message.description,
    )


def health_message(health: Health) -> resources_pb2.ModelHealth:
    """Convert a check's result."""
    return resources_pb2.ModelHealth(
        model=health.model,
        ready=health.ready,
        message=health.message,
        latency_ms=health.latency_ms,
        check_time=timestamp(health.check_time),
    )


def _known(kind: type[Value], value: int, field: str) -> Value:
    try:
        return kind(value)
    except ValueError as error:
        raise errors.wrong_field(field, "is not known") from error
