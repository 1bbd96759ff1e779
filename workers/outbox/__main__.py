"""`python -m workers.outbox`."""

from mesh.runtime.process import run
from mesh.runtime.settings import ProcessSettings
from workers.outbox.wiring import build

if __name__ == "__main__":
    run(build, ProcessSettings)
