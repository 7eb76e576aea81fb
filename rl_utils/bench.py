"""python -m rl_utils.bench: speed on this machine, always beside the alternative or an empty loop in the same run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from rl_utils.config import BenchConfig, parse_config
from rl_utils.console import log
from rl_utils.errors import UserError, user_errors
from rl_utils.paths import require_writable

Row = Mapping[str, Any]
Part = Callable[[float], list[dict[str, object]]]


PARTS = {
    "capture": "bench_capture",
    "record": "bench_record",
    "write": "bench_write",
    "load": "bench_learning",
    "train": "bench_learning",
    "drive": "bench_drive",
    "pad": "bench_pad",
    "obs": "bench_obs",
}
"""Name → the module that holds its measurement, `bench_{name}`."""
WITH = {"drive": ("drive", "pad")}
"""What is measured along with a part, where this machine can."""


def _part(name: str) -> Part:
    """The measurement behind a name; each lives beside what it measures and loads it only now."""
    part: Part = getattr(import_module(f"rl_utils.{PARTS[name]}"), f"bench_{name}")
    return part


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned text; a column that no row fills is left out."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_text(row.get(key, "")) for key in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(_pad(cell, width, i) for i, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in cells
    )


def _pad(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    config = parse_config(BenchConfig, argv, prog="python -m rl_utils.bench")
    if config.json is not None:
        require_writable(config.json, "--json")
    results: dict[str, list[dict[str, object]]] = {}
    failed = False
    wanted = [part for name in config.what or PARTS for part in WITH.get(name, (name,))]
    for name in dict.fromkeys(wanted):
        log(f"Measuring {name} ...")
        try:
            rows = _part(name)(config.seconds)
        except UserError as error:
            if name in config.what:
                raise
            log(f"{name} was left out: {error}")
            failed = True
            continue
        results[name] = rows
        print(f"\n{name}\n{table(rows)}", flush=True)
    if config.json is not None:
        try:
            config.json.write_text(json.dumps(results, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{config.json} cannot be written ({error.strerror})", "Free some space") from error
    return 2 if failed and not results else 0


if __name__ == "__main__":
    sys.exit(main())
