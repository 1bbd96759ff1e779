"""Starts identity."""

from mesh.runtime.process import run
from services.identity.config import Settings
from services.identity.wiring import build

if __name__ == "__main__":
    run(build, Settings)
