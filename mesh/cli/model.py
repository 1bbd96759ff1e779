"""`soma model`: the names under which models are asked for."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Any

import typer

from mesh.cli.client import SECONDS, edge
from mesh.cli.failures import Exit, Failure
from mesh.cli.output import Cell, LimitOption, Output, OutputOption, first, say, show, show_rows
from mesh.cli.turns import new_request_id

app = typer.Typer(no_args_is_help=True, help="List, add, check and remove model profiles.")
NameArgument = Annotated[str, typer.Argument(help="The profile's name.")]
_CHECK_SECONDS = 60.0


class Provider(StrEnum):
    """Who answers behind a profile."""

    TRITON = "triton"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Task(StrEnum):
    """What a model does."""

    GENERATE = "generate"
    EXTRACT = "extract"
    EMBED = "embed"


class Dialect(StrEnum):
    """How a Triton model wants its request."""

    VLLM = "vllm"
    TRTLLM = "trtllm"
    TRTLLM_LLMAPI = "trtllm_llmapi"


def _provider(row: Any) -> str:
    from soma.slm.v1 import resources_pb2 as pb

    return pb.Provider.Name(row.provider).removeprefix("PROVIDER_").lower()


def _task(row: Any) -> str:
    from soma.slm.v1 import resources_pb2 as pb

    return pb.Task.Name(row.task).removeprefix("TASK_").lower()


_MODELS: tuple[Cell, ...] = (
    ("name", lambda row: row.name),
    ("provider", _provider),
    ("task", _task),
    ("model", lambda row: row.provider_model),
    ("context", lambda row: row.context_tokens),
    ("slots", lambda row: row.slots),
    ("built in", lambda row: "yes" if row.built_in else "no"),
    ("description", lambda row: row.description),
)
_HEALTH: tuple[Cell, ...] = (
    ("model", lambda row: row.model),
    ("ready", lambda row: "yes" if row.ready else "no"),
    ("latency", lambda row: f"{row.latency_ms:.1f} ms"),
    ("message", lambda row: row.message),
)


@app.command("list")
def list_models(limit: LimitOption = 50, output: OutputOption = Output.TABLE) -> None:
    """List profiles, built-in ones first."""
    with edge() as open_edge:
        from soma.slm.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.ModelsStub)
        rows = open_edge.pages(stub.ListModels, service_pb2.ListModelsRequest(), "models")
        show_rows(first(limit, rows), output, _MODELS)


@app.command("show")
def show_model(name: NameArgument, output: OutputOption = Output.TABLE) -> None:
    """Show one profile."""
    with edge() as open_edge:
        from soma.slm.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.ModelsStub)
        show(stub.GetModel(service_pb2.GetModelRequest(name=name), timeout=SECONDS), output, _MODELS)


@app.command()
def add(
    name: NameArgument,
    *,
    provider: Annotated[Provider, typer.Option(help="Who answers.")],
    model: Annotated[str, typer.Option(help="The provider's own name of it; the profile's by default.")] = "",
    base_url: Annotated[str, typer.Option(help="Address of the provider, such as https://host/v1.")] = "",
    task: Annotated[Task, typer.Option(help="What it does.")] = Task.GENERATE,
    dialect: Annotated[Dialect, typer.Option(help="How a Triton model wants its request.")] = Dialect.VLLM,
    context_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of prompt and answer.")] = 8192,
    max_output_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 2048,
    slots: Annotated[int, typer.Option(min=1, help="How many turns it works on at once.")] = 8,
    description: Annotated[str, typer.Option(help="Shown wherever its words are shown.")] = "",
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds its API key.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Add a profile for a model of Triton, or of an OpenAI-compatible or Anthropic provider.

    The provider's key is read from a variable, never from the command line, and is stored encrypted.
    """
    with edge() as open_edge:
        from soma.slm.v1 import resources_pb2 as pb
        from soma.slm.v1 import service_pb2, service_pb2_grpc

        profile = pb.Model(
            name=name,
            provider=pb.Provider.Value(f"PROVIDER_{provider.upper()}"),
            task=pb.Task.Value(f"TASK_{task.upper()}"),
            dialect=pb.Dialect.Value(f"DIALECT_{dialect.upper()}"),
            provider_model=model or name,
            base_url=base_url,
            context_tokens=context_tokens,
            max_output_tokens=max_output_tokens,
            slots=slots,
            description=description,
        )
        request = service_pb2.CreateModelRequest(
            model=profile, api_key=_key(api_key_env), request_id=new_request_id()
        )
        made = open_edge.stub(service_pb2_grpc.ModelsStub).CreateModel(request, timeout=SECONDS)
        show(made, output, _MODELS)


@app.command()
def remove(name: NameArgument) -> None:
    """Remove a profile; built-in ones stay."""
    with edge() as open_edge:
        from soma.slm.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.ModelsStub)
        stub.DeleteModel(service_pb2.DeleteModelRequest(name=name), timeout=SECONDS)
        say(f"{name} is removed")


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Profiles; all by default.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Ask whether models answer; the exit code is 7 where one does not."""
    with edge() as open_edge:
        from soma.slm.v1 import service_pb2, service_pb2_grpc

        stub = open_edge.stub(service_pb2_grpc.ModelsStub)
        if not names:
            rows = open_edge.pages(stub.ListModels, service_pb2.ListModelsRequest(), "models")
            names = [row.name for row in rows]
        found = [
            stub.CheckModel(service_pb2.CheckModelRequest(name=name), timeout=_CHECK_SECONDS)
            for name in names
        ]
        show_rows(found, output, _HEALTH)
        if not all(health.ready for health in found):
            raise typer.Exit(int(Exit.UNAVAILABLE))


def _key(variable: str) -> str:
    if not variable:
        return ""
    found = os.environ.get(variable, "")
    if not found:
        raise Failure(f"the variable {variable} is not set", Exit.USAGE)
    return found
