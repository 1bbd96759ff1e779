"""Starts the audit service."""

from mesh.runtime.process import run
from services.audit.config import Settings
from services.audit.wiring import build

if __name__ == "__main__":
    run(build, Settings)
