"""Who `soma up` found before is found again where the stack is now."""

from pathlib import Path

from mesh.stack.client_file import ClientFile
from mesh.stack.first_run import client_of
from mesh.stack.settings import StackSettings


def settings(home: Path, port_base: int) -> StackSettings:
    return StackSettings.from_environment({"SOMA_HOME": str(home), "SOMA_PORT_BASE": str(port_base)})


def test_before_the_first_run_there_is_nobody(tmp_path: Path) -> None:
    assert client_of(settings(tmp_path, 18000)) is None


def test_a_stack_that_moved_to_other_ports_keeps_its_first_user(tmp_path: Path) -> None:
    before, after = settings(tmp_path, 18000), settings(tmp_path, 27000)
    ClientFile.of(before.home, before.ports, api_key="key", tenant="tnt_1").write(before.home.client)
    found = client_of(after)
    assert found == ClientFile.of(after.home, after.ports, api_key="key", tenant="tnt_1")
    assert found.edge_url == "http://127.0.0.1:27000"
    assert ClientFile.read(after.home.client) == found
    assert after.home.client.stat().st_mode & 0o777 == 0o600
