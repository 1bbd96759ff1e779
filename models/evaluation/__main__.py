"""Prints the figures of the model card: ``python -m models.evaluation --tree DIR``."""

import argparse
from pathlib import Path

from models.evaluation.encoder import Encoder
from models.evaluation.measure import Report, measure
from models.evaluation.questions import DriftError, load
from models.extraction.answer import Scores
from models.serving.cache import VectorCache

SETS = ("development", "held_out", "project")


def table(reports: dict[str, Report]) -> str:
    """Return the measures as a Markdown table, one column a set."""
    lines = [f"| measure | {' | '.join(reports)} |", "|---" * (len(reports) + 1) + "|"]
    columns = [report.rows() for report in reports.values()]
    for cells in zip(*columns, strict=True):
        values = " | ".join(f"{share:.3f} ({counts})" for _, share, counts in cells)
        lines.append(f"| {cells[0][0]} | {values} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the sets and print the table; with ``--misses`` also what went wrong."""
    parser = argparse.ArgumentParser(description="measure the extractive answerer")
    parser.add_argument("--tree", type=Path, required=True, help="a tree of models.build")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--misses", action="store_true")
    options = parser.parse_args()
    embed = VectorCache(Encoder(options.tree), entries=100_000)
    scores = Scores.load()
    try:
        reports = {name: measure(load(name), embed, scores) for name in options.sets}
    except DriftError as error:
        raise SystemExit(f"the documents are not those of the sets:\n{error}") from error
    print(table(reports))
    for report in reports.values() if options.misses else ():
        for outcome in report.outcomes:
            if outcome.answered != (outcome.question.answer is not None) or (
                outcome.answered and not outcome.first
            ):
                print(f"\n{outcome.question.id} {outcome.question.question}\n  {outcome.question.answer!r}")
                print(f"  retrieved {outcome.retrieved}: {outcome.texts}")


if __name__ == "__main__":
    main()
