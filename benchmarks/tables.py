"""Result tables: writes them from `benchmarks/results/NAME.json` into the README and the docs.

    python -m benchmarks.tables

rewrites what stands between `<!-- table: NAME -->` and `<!-- end -->`; a test checks that nothing there was typed in.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "documents", "fill", "main", "table"]

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Entry of a row -> heading, in the order of the columns; entries under other names follow them as they are called.
HEADINGS = {
    "model": "model",
    "metric": "metric",
    "mean": "test",
    "baseline": "trivial baseline",
    "published": "published",
    "parameters": "parameters",
    "epochs": "epochs",
    "seconds": "seconds to train",
}
HIDDEN = ("seeds", "values", "sd", "errors")


def _number(x: Any, of: float | None = None) -> str:
    """A number with as many digits as its size asks for, or that of the one whose deviation it is."""
    if not isinstance(x, int | float):
        return "" if x is None else str(x).replace("|", "\\|")
    if isinstance(x, int) or abs(x) >= 1000:
        return f"{x:,.0f}"
    size = abs(x if of is None else of)
    digits = 1 if size >= 10 else 2 if size >= 1 else 4
    return f"{x:.{digits}f}"


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """Heading -> text. An entry that holds several numbers becomes several columns."""
    cells: dict[str, str] = {}
    for entry, value in row.items():
        heading = HEADINGS.get(entry, entry)
        if isinstance(value, dict) and entry not in HIDDEN:
            cells |= {f"{heading}, {name}": _number(part) for name, part in value.items()}
        elif entry not in HIDDEN and value is not None:
            cells[heading] = _number(value)
    if "mean" in row and len(row.get("values", ())) > 1:
        cells["test"] += f" ± {_number(row['sd'], row['mean'])} ({len(row['values'])} seeds)"
    return cells


def _attention(row: dict[str, Any]) -> dict[str, str]:
    """The cells of a case of the attention benchmark: its time, its limit, and each peer as a multiple of its time."""
    cells = {"case": row["case"], "executor": row["executor"]}
    if "skipped" in row:
        return cells | {"ms": row["skipped"]}
    cells |= {"ms": _number(row["ms"])}
    cells |= {rate: f"{row[rate]:.2f}" for rate in ("of G", "of M") if rate in row}
    cells |= {"MB": _number(round(row["MB"])) if "MB" in row else ""}
    beside = [f"{name} {peer['ratio']:.3g}x ({_number(peer['ms'])} ms)" for name, peer in row["peers"].items()]
    beside += [f"{name} {why.split(':')[0]}" for name, why in row.get("missing", {}).items()]
    if "errors" in row:
        beside += ["largest error " + ", ".join(f"{name} {error:.1e}" for name, error in row["errors"].items())]
    expected = []
    for floor in row["floors"]:
        verdict = {True: "reached", False: "**not reached**", None: "not measured"}[floor["met"]]
        if floor["met"] is not None:
            verdict += f": {floor['reached']:.3g}"
        bound = "at least" if floor["at least"] else "at most"
        expected.append(f"{bound} {floor['floor']:.3g} {floor['than']} ({verdict})")
    return cells | {"peers: their time to ours": "; ".join(beside), "expected": "; ".join(expected)}


def _choice(row: dict[str, Any]) -> dict[str, str]:
    """The cells of a case on which every executor was measured."""
    times = ", ".join(f"{name} {_number(ms)}" for name, ms in sorted(row["ms"].items(), key=lambda each: each[1]))
    cells = {"case": row["case"], "choice": row["choice"], "ms of each": times}
    cells["choice to best"] = f"{row['choice to best']:.2f}" if "choice to best" in row else "under 2 ms"
    if "MB" in row:
        cells |= {"MB": f"{row['MB']['measured']:.0f}", "predicted to measured": f"{row['predicted to measured']:.2f}"}
    return cells


# How the rows of a kind of result become cells.
_KINDS = {"attention": _attention, "choices": _choice}


def table(result: dict[str, Any]) -> str:
    """A result file as a Markdown table, with the data and the machine in a line below it."""
    rows = [_KINDS.get(result.get("kind", ""), _cells)(row) for row in result["rows"]]
    found = list(dict.fromkeys(heading for row in rows for heading in row))
    known = [heading for heading in HEADINGS.values() if heading in found]
    headings = known + [heading for heading in found if heading not in known]
    lines = [headings, ["---"] * len(headings), *([row.get(heading, "") for heading in headings] for row in rows)]
    about = [str(result[key]) for key in ("data", "split") if result.get(key)]
    about += [f"{key}: {_number(value)}" for key, value in result.get("summary", {}).items()]
    about += [f"{key}: {_number(value)}" for key, value in result.get("machine", {}).items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{'; '.join(about)}.\n"


def fill(text: str) -> str:
    """A document with its marked tables written anew."""

    def written(match: re.Match[str]) -> str:
        path = RESULTS / f"{match[2]}.json"
        shown = table(json.loads(path.read_text())) if path.exists() else "Not measured yet.\n"
        return f"{match[1]}\n{shown}\n{match[3]}"

    return MARKED.sub(written, text)


def documents() -> list[Path]:
    """The files that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> int:
    """Rewrite every document whose tables are out of date, and say which."""
    for path in documents():
        before = path.read_text()
        after = fill(before)
        if after != before:
            path.write_text(after)
            print(f"wrote the tables of {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
