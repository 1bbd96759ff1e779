"""Starts the gateway."""

from mesh.runtime.process import run
from services.gateway.config import Settings
from services.gateway.wiring import build

if __name__ == "__main__":
    run(build, Settings)
