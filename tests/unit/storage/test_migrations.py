"""Migration files: their names, their order, and what is refused."""

from pathlib import Path

import pytest

from mesh.runtime.errors import ConfigurationError
from mesh.storage.migrate import ROOT, Migration, pending, read_migrations


def write(root: Path, name: str, sql: str = "select 1") -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(sql)


def a_migration(number: int, sql: str = "select 1") -> Migration:
    return Migration("memory", number, f"{number:04}_do_it.sql", sql)


def test_files_are_read_by_schema_and_number(tmp_path: Path) -> None:
    write(tmp_path, "slm/migrations/0001_create_models.sql")
    write(tmp_path, "audit/migrations/0002_add_index.sql")
    write(tmp_path, "audit/migrations/0001_create_records.sql")
    found = [(each.schema, each.number) for each in read_migrations(tmp_path)]
    assert found == [("audit", 1), ("audit", 2), ("slm", 1)]


@pytest.mark.parametrize("name", ["1_x.sql", "0001-x.sql", "0001_X.sql", "notes.sql"])
def test_other_names_are_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, f"audit/migrations/{name}")
    with pytest.raises(ConfigurationError, match="NNNN_verb_subject"):
        read_migrations(tmp_path)


def test_a_number_stands_once(tmp_path: Path) -> None:
    write(tmp_path, "audit/migrations/0001_a.sql")
    write(tmp_path, "audit/migrations/0001_b.sql")
    with pytest.raises(ConfigurationError, match="same number"):
        read_migrations(tmp_path)


def test_only_what_is_new_is_pending() -> None:
    one, two = a_migration(1), a_migration(2)
    assert list(pending([one, two], {("memory", 1): one.checksum})) == [two]


@pytest.mark.parametrize(
    ("applied", "cause"),
    [
        ({("memory", 1): "other"}, "edited"),
        ({("memory", 2): a_migration(2).checksum}, "after a higher number"),
        ({("memory", 3): "x"}, "not there any more"),
    ],
)
def test_history_is_never_rewritten(applied: dict[tuple[str, int], str], cause: str) -> None:
    with pytest.raises(ConfigurationError, match=cause):
        list(pending([a_migration(1), a_migration(2)], applied))


def test_the_products_migrations_are_well_named() -> None:
    assert read_migrations(ROOT)
