"""Every command of the guides runs as it stands there, in order, against the running stack.

A document is one shell session. Two things are put in place of what a reader
has: the folder `.soma` is the test's own, and `make down`, which would stop the
stack that all tests share, is left to the tests of the launcher.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ("README.md", "docs/guides/first-turn.md", "docs/guides/operations.md", "examples/README.md")
LEFT_OUT = {
    "make down": "tests/integration/stack stops stacks of its own",
    "grpcurl": "no package of ours; test_grpc_clients asks the same of reflection",
}
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def script(document: str, stack: Stack) -> str:
    """The document's commands as one script."""
    parts = ["set -euo pipefail"]
    for language, block in BLOCK.findall((ROOT / document).read_text()):
        if any(f"\n{command}" in f"\n{block}" and command == "grpcurl" for command in LEFT_OUT):
            continue
        lines = [line for line in block.splitlines() if not line.startswith("make down")]
        code = in_place("\n".join(lines), stack)
        parts.append(code if language == "sh" else f"{sys.executable} - <<'PYTHON'\n{code}\nPYTHON")
    return "\n".join(parts)


def in_place(code: str, stack: Stack) -> str:
    """The commands with the test's own folder in place of `.soma`."""
    code = code.replace(".soma/lib/venv/bin/python", sys.executable)
    for folder in ("$PWD/.soma/bin", ".soma/bin", ".soma/overrides"):
        code = code.replace(folder, f"{stack.home}/{Path(folder).name}")
    return code


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", GUIDES)
async def test_the_commands_of_a_guide_run(stack: Stack, document: str) -> None:
    await stack.ready()
    environment = {**os.environ, **stack.environment()}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script(document, stack), cwd=ROOT, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 580)
    assert process.returncode == 0, out.decode()[-40_000:]


def documents() -> list[str]:
    """Every document of the project."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


@pytest.mark.parametrize("document", documents())
def test_a_document_opens_with_the_truth_line_and_its_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    assert "**No mocks, no imitations, no bypasses, no invented values" in "\n".join(text.splitlines()[:6])
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / document).parent.joinpath(target).exists(), target
