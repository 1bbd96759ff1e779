"""Starts the orchestrator."""

from mesh.runtime.process import run
from services.orchestrator.config import from_environment
from services.orchestrator.wiring import build

if __name__ == "__main__":
    run(build, from_environment)
