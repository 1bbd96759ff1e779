"""Starts the policy service."""

from mesh.runtime.process import run
from services.policy.config import Settings
from services.policy.wiring import build

if __name__ == "__main__":
    run(build, Settings)
