"""Writes docs/reference/ from the contracts and the code: scopes, errors, topics, settings.

`python scripts/reference.py` writes; `--check` fails when what is committed differs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor
from openapi import Contract, bindings

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference"
TRUTH = (
    "> **No mocks, no imitations, no bypasses, no invented values: real servers, real data, "
    "and mathematics where a claim can be proved.**"
)
ACCESS = {1: "token", 2: "public", 3: "workload"}
SETTINGS = (
    "mesh.runtime.settings:ProcessSettings",
    "mesh.policy.wiring:PolicySettings",
    *(f"services.{name}.config:Settings" for name in
      ("audit", "gateway", "identity", "memory", "orchestrator", "policy", "slm")),
    *(f"workers.{name}.config:Settings" for name in ("projections", "slm")),
)  # fmt: skip


def page(title: str, introduction: str, body: str) -> str:
    """A document in the project's form."""
    return f"# {title}\n\n{TRUTH}\n\n{introduction}\n\n{body}\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def methods(contract: Contract) -> Iterator[MethodDescriptor]:
    """Every method of the project's services."""
    for file in contract.files:
        for service in contract.pool.FindFileByName(file.name).services_by_name.values():
            if service.full_name.startswith("soma."):
                yield from service.methods


def scopes(contract: Contract) -> str:
    """The scope table."""
    rows = []
    for method in methods(contract):
        policy = contract.options(method, "MethodOptions", "soma.options.v1.method")
        http = ", ".join(f"`{b.verb.upper()} {b.path}`" for b in bindings(contract, method))
        name = f"`{method.containing_service.full_name}/{method.name}`"
        rows.append([f"`{policy.scope}`" if policy.scope else "", ACCESS[policy.access], name,
                     http if policy.access != 3 else ""])  # fmt: skip
    rows.sort(key=lambda row: (row[1] != "token", row[1], row[0], row[2]))
    introduction = (
        "Which scope a token needs for which call. `public` needs no token; `workload` is for the "
        "services themselves, by certificate, and is never reachable through the edge."
    )
    return page("Scopes", introduction, table(["Scope", "Access", "RPC", "HTTP"], rows))


def errors(contract: Contract) -> str:
    """The table of reasons."""
    values = contract.pool.FindEnumTypeByName("soma.errors.v1.ErrorReason").values
    rows = [
        [
            f"`{v.name.removeprefix('ERROR_REASON_')}`",
            contract.comments[f"soma.errors.v1.ErrorReason.{v.name}"],
        ]
        for v in values
        if v.number
    ]
    introduction = (
        "Every failure is a `google.rpc.Status`. Its `google.rpc.ErrorInfo` has the domain `soma` and one of "
        "these reasons; a message of each is shown. Where there is a way out, `RetryInfo` says when to try "
        "again, and `BadRequest` names the fields that are wrong."
    )
    return page("Errors", introduction, table(["Reason", "A message"], rows))


def topics() -> str:
    """The table of Kafka topics."""
    registry = importlib.import_module("mesh.events.topics")
    rows = [
        [
            f"`{t.name}`",
            f"`{t.message}`",
            t.key,
            str(t.partitions),
            ", ".join(t.producers),
            ", ".join(t.consumers),
        ]
        for t in registry.TOPICS
    ]
    introduction = (
        "Every event is a protobuf message. A record that a consumer cannot handle after some tries goes to "
        "`<topic>.dlq` with its reason, and its partition goes on. Only the workloads named here may write "
        "or read a topic."
    )
    head = ["Topic", "Message", "Key", "Partitions", "Written by", "Read by"]
    return page("Topics", introduction, table(head, rows))


LAUNCHER = {
    "SOMA_HOME": "Folder of the stack: data, logs, certificates, secrets. Default `.soma` in the checkout.",
    "SOMA_LIB": "Folder of what is installed; two stacks may share it. Default `$SOMA_HOME/lib`.",
    "SOMA_PORT_BASE": "First of the stack's ports. Default 18000; all of them lie below 32768.",
}


def launcher() -> str:
    """The settings of the launcher: `mesh.stack.settings` names them."""
    stack = importlib.import_module("mesh.stack.settings")
    rows = [[f"`{name}`", text] for name, text in LAUNCHER.items()]
    rows += [
        [f"`{variable}`", f"Address of a {server} that runs elsewhere; then none is started."]
        for server, variable in stack.EXTERNAL.items()
    ]
    rows += [[f"`{variable}`", "Passed on to every process as it is."] for variable in stack.PASSED_ON]
    return "## The launcher\n\n" + table(["Variable", "What it does"], rows)


def shown(default: object) -> str:
    """A default as people read it; a file of the repository by its place in it."""
    return str(default.relative_to(ROOT)) if isinstance(default, Path) else repr(default)


def settings() -> str:
    """The settings of the launcher and of every process."""
    sections = [launcher()]
    seen: set[str] = set()
    for reference in SETTINGS:
        module, name = reference.split(":")
        model = getattr(importlib.import_module(module), name)
        prefix = model.model_config.get("env_prefix", "")
        rows = []
        for key, info in sorted(model.model_fields.items()):
            if name == "Settings" and key in seen and info.description is None:
                continue
            if reference.startswith("mesh.runtime"):
                seen.add(key)
            elif key in seen:
                continue
            default = "" if info.is_required() else f"`{shown(info.default)}`"
            rows.append([f"`{prefix}{key}`".upper(), default, info.description or ""])
        if rows:
            owner = "Every process" if reference.startswith("mesh.runtime") else module.rsplit(".", 1)[0]
            sections.append(f"## {owner}\n\n" + table(["Variable", "Default", "What it does"], rows))
    introduction = "Settings are environment variables. The launcher and the chart set most of them."
    return page("Settings", introduction, "\n\n".join(sections))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when docs/reference/ is not fresh")
    check = parser.parse_args().check
    sys.path[:0] = [str(ROOT), str(ROOT / "gen" / "python")]
    generate = importlib.import_module("generate")
    with tempfile.TemporaryDirectory() as name:
        image = Path(name) / "image.binpb"
        generate.generate(Path(name) / "gen", source_image=image)
        contract = Contract.load(image.read_bytes())
    pages = {
        "scopes.md": scopes(contract),
        "errors.md": errors(contract),
        "topics.md": topics(),
        "settings.md": settings(),
    }
    stale = [n for n, t in pages.items() if not (TARGET / n).is_file() or (TARGET / n).read_text() != t]
    if check:
        if stale:
            raise SystemExit("docs/reference/ is not fresh; run `make docs`: " + ", ".join(stale))
        return
    TARGET.mkdir(parents=True, exist_ok=True)
    for filename, text in pages.items():
        (TARGET / filename).write_text(text)


if __name__ == "__main__":
    main()
