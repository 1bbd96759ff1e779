"""Every described operation, by schemathesis: values that fit the schema and values that do not."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.attacks.fuzz.cases import SEED, TALLY, share
from tests.support.stack import Stack

FAMILY = "OpenAPI operations"
DESCRIPTION = Path(__file__).resolve().parents[3] / "gen" / "openapi" / "openapi.json"
# What ends the caller's own token, and what streams for as long as a model speaks.
LEFT_OUT = ("/v1/tokens:revoke", ":stream", ":watch")
OPERATIONS = 47
"""Those that take something; the others have one case each."""


@pytest.mark.timeout(7200)
async def test_no_operation_answers_with_a_server_error(stack: Stack, tmp_path: Path, steady: None) -> None:
    tenant = await stack.new_tenant()
    program = Path(sys.executable).parent / "schemathesis"
    left_out = "|".join(re.escape(part) for part in LEFT_OUT)
    process = await asyncio.create_subprocess_exec(
        *(str(program), "run", str(DESCRIPTION), "--url", stack.edge_url),
        *("--header", f"Authorization: Bearer {tenant.api_key}"),
        *("--checks", "not_a_server_error", "--phases", "fuzzing", "--mode", "all"),
        *("--max-examples", str(share(FAMILY, parts=OPERATIONS)), "--seed", str(SEED)),
        *("--exclude-path-regex", left_out, "--request-timeout", "60", "--no-color", "--workers", "2"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    said = out.decode()
    ran = re.search(r"(\d+) generated", said)
    assert ran is not None, said[-4000:]
    TALLY[FAMILY] += int(ran[1])
    assert process.returncode == 0, said[-8000:]
