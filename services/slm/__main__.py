"""Starts slm."""

from mesh.runtime.process import run
from services.slm.config import Settings
from services.slm.wiring import build

if __name__ == "__main__":
    run(build, Settings)
