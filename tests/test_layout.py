"""The structure that readers rely on: imports point one way, and --help loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# From the bottom up; a module may import from its own layer and from those before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("rl_utils", "controls", "errors"),
    ("interfaces", "config", "paths", "pacing", "console", "findings", "hardware"),
    ("images", "signals", "schema", "x11", "game_window", "xshm"),
    ("arena",),
    (
        "get_current_window",
        "get_current_frame",
        "picture_watch",
        "portal_frames",
        "pad_state",
        "pad_finder",
        "pad_device",
        "pad_mapping",
        "map_pad",
        "pad_profile",
        "controller_reader",
        "apply_inputs",
        "safety",
        "takeover",
        "split_screen",
        "session_folder",
        "batch_sample",
        "batch_file",
        "batch_pictures",
        "batch_reader",
        "data_batcher",
        "recovery",
        "recordings",
        "replay",
        "scoring_starts",
        "raw_events",
        "trim",
        "quality",
        "delay",
        "cuts",
        "overlay",
        "scene",
        "timeline",
        "playlist",
        "player",
        "live_view",
        "viewer",
        "export",
        "growing_dataset",
        "batch_writer",
        "resume",
        "habits",
        "hot_keys",
        "sounds",
        "inspect_recording",
        "plots",
        "curve_plot",
    ),
    (
        "state_input",
        "state_features",
        "preprocess",
        "losses",
        "model",
        "policy",
        "split",
        "copies",
        "dataset",
        "batches",
        "bad_batch",
        "event_file",
        "frame_store",
        "picture_file",
        "metrics",
        "press_metrics",
        "looks",
        "checkpoint",
        "schedule",
        "training_run",
        "optimisation",
        "muon",
        "kept_memory",
        "network",
        "temporal",
        "run_state",
        "selection",
        "speed",
        "training_log",
        "model_card",
        "trainer",
        "workers",
        "held_out",
        "coach_rounds",
        "article_play",
    ),
    ("loops", "record_loop", "listeners", "devices", "sitting"),
    ("doctor", "bench", "virtual_screen", "demo", "scoreboard"),
)
SCRIPTS = ("collect.py", "train.py", "eval.py", "playback.py")
HEAVY = ("torch", "cv2", "h5py", "pygame", "RocketSim", "matplotlib", "evdev", "Xlib", "xcffib")


def layer_of(module: str) -> int:
    name = module.split(".")[1] if "." in module else module
    for index, names in enumerate(LAYERS):
        if any(name == n or name.startswith(n + "_") for n in names):
            return index
    pytest.fail(f"{module} belongs to no layer: add it to LAYERS where it fits")


def top_level_imports(tree: ast.Module) -> list[str]:
    """Modules of ours that are imported when the file is loaded (imports inside functions are deferred on purpose)."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rl_utils"):
            found += [f"rl_utils.{a.name}" for a in node.names] if node.module == "rl_utils" else [node.module]
        elif isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.startswith("rl_utils")]
    return [m for m in found if m != "rl_utils.__version__"]


def test_imports_point_one_way() -> None:
    """A device that imports the trainer would make the flow impossible to follow and --help slow."""
    for file in sorted((ROOT / "rl_utils").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        module = ".".join(p for p in parts if p != "__init__")
        for imported in top_level_imports(ast.parse(file.read_text())):
            assert layer_of(imported) <= layer_of(module), f"{module} imports {imported}, which is above it"


def test_the_layout_has_one_copy() -> None:
    """A second copy of the layout's sizes would go wrong with the first change of it."""
    for file in [*sorted((ROOT / "rl_utils").rglob("*.py")), *(ROOT / s for s in SCRIPTS)]:
        if file.name == "controls.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
                bounds = [b.value for b in (node.slice.lower, node.slice.upper) if isinstance(b, ast.Constant)]
                assert 11 not in bounds, f"{file.name}:{node.lineno} slices the input vector by number"
                assert 19 not in bounds, f"{file.name}:{node.lineno} slices the input vector by number"


@pytest.mark.parametrize(
    "command", [*SCRIPTS, "-m rl_utils.arena", "-m rl_utils.doctor", "-m rl_utils.bench", "-m rl_utils.scoreboard"]
)
def test_help_loads_nothing_heavy(command: str) -> None:
    """--help has to answer at once, also on a machine where a library is broken."""
    probe = (
        "import sys, runpy\n"
        "argv = sys.argv[1:]\n"
        "sys.argv = [argv[-1], '--help']\n"
        "try:\n"
        "    runpy.run_module(argv[1], run_name='__main__') if argv[0] == '-m'"
        " else runpy.run_path(argv[0], run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code in (0, None), stop.code\n"
        f"loaded = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *command.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
