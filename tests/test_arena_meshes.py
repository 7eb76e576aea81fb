"""The generated walls, and that RocketSim is never shown a bad file, after which it would wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena import field
from rl_utils.arena.mesh_geometry import UU_PER_MESH_UNIT, build_meshes, wall_outline
from rl_utils.arena.meshes import mesh_problem, ready_folder
from rl_utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
STEP = """
    from rl_utils.arena.meshes import rocketsim
    rs = rocketsim()
    arena = rs.Arena(rs.GameMode.SOCCAR)
    arena.step(4)
    print("ticks", arena.tick_count)
"""


@pytest.fixture(scope="module")
def meshes() -> dict[str, bytes]:
    return build_meshes()


@pytest.fixture
def cache(meshes: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder as an earlier start of the arena left it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    _, temporary = ready_folder(meshes)
    assert not temporary
    return folder


def run_python(code: str, cache: Path, *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(cache.parent)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def vertices_uu(data: bytes) -> np.ndarray:
    triangles, vertices = np.frombuffer(data, "<i4", 2)
    return np.frombuffer(data, "<f4", 3 * vertices, 8 + 12 * triangles).reshape(-1, 3) * UU_PER_MESH_UNIT


def test_every_mesh_is_sound(meshes: dict[str, bytes]) -> None:
    """One bad file and the arena would hang for ever without a word."""
    assert len(meshes) == 10
    for name, data in meshes.items():
        assert mesh_problem(data) == "", name


def test_generating_again_gives_the_same_bytes(meshes: dict[str, bytes]) -> None:
    """The cache folder is found by contents: bytes that changed would be written anew at every start."""
    assert build_meshes() == meshes


def test_the_walls_fill_the_published_pitch(meshes: dict[str, bytes]) -> None:
    """Walls in the wrong place would teach bounces that the game does not have."""
    points = np.concatenate([vertices_uu(data) for data in meshes.values()])
    assert np.abs(points).max(axis=0) == pytest.approx(
        [field.SIDE_WALL_X_UU, field.BACK_WALL_Y_UU + field.GOAL_DEPTH_UU, field.CEILING_Z_UU], abs=0.01
    )
    assert points[:, 2].min() == pytest.approx(0, abs=0.01)
    on_pitch = points[np.abs(points[:, 1]) <= field.BACK_WALL_Y_UU + 0.1]
    assert np.abs(on_pitch[:, :2]).sum(axis=1).max() <= field.CORNER_SUM_UU + 0.1


def test_the_pitch_is_symmetric(meshes: dict[str, bytes]) -> None:
    """A pitch that favours one side would bias every score and every mirrored picture."""
    points = np.concatenate([vertices_uu(data) for data in meshes.values()])
    for flip in ((-1, 1, 1), (1, -1, 1)):
        furthest = max(float(np.abs(points - point * flip).sum(axis=1).min()) for point in points)
        assert furthest < 0.01


def test_the_goal_mouth_is_open(meshes: dict[str, bytes]) -> None:
    """A wall across the goal would let nobody score."""
    for name in ("back_blue", "back_orange"):
        data = meshes[name]
        count = np.frombuffer(data, "<i4", 1)[0]
        faces = np.frombuffer(data, "<i4", 3 * count, 8).reshape(-1, 3)
        centres = vertices_uu(data)[faces].mean(axis=1)
        inside = (np.abs(centres[:, 0]) < field.GOAL_HALF_WIDTH_UU - 1) & (centres[:, 2] < field.GOAL_HEIGHT_UU - 1)
        assert not inside.any()


def test_the_outline_goes_once_around() -> None:
    """A gap in the outline is a gap in the wall."""
    outline, normals, walls = wall_outline()
    ahead = np.roll(outline, -1, axis=0) - outline
    assert np.linalg.norm(ahead, axis=1).max() < 520
    turning = outline[:, 0] * ahead[:, 1] - outline[:, 1] * ahead[:, 0]
    assert (turning > 0).all()
    assert np.linalg.norm(normals, axis=1) == pytest.approx(1)
    assert set(walls.tolist()) == {-1, *range(8)}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda d: d[:0], "only 0 bytes"),
        (lambda d: d[:7], "only 7 bytes"),
        (lambda d: d[:-1], "do not fit"),
        (lambda d: d + b"\0", "do not fit"),
        (lambda d: b"\0\0\0\0" + d[4:], "0 triangles"),
        (lambda d: d[:8] + b"\xff\xff\xff\x7f" + d[12:], "vertex numbers"),
        (lambda d: d[:-4] + np.array(np.nan, "<f4").tobytes(), "not numbers"),
    ],
)
def test_damage_is_recognised(meshes: dict[str, bytes], damage: object, reason: str) -> None:
    """Each of these would make RocketSim hang or read outside its memory."""
    assert reason in mesh_problem(damage(meshes["goal_blue"]))  # type: ignore[operator]


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "other bytes", "a folder"])
def test_a_damaged_cache_is_put_right(meshes: dict[str, bytes], cache: Path, tmp_path: Path, damage: str) -> None:
    """A power cut while the cache was written must not keep the arena from ever starting again."""
    (file,) = cache.glob("rlai/meshes-*/soccar/goal_blue.cmf")
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:100])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "other bytes":
        file.write_bytes(bytes(len(meshes["goal_blue"])))
    else:
        file.unlink()
        if damage == "a folder":
            file.mkdir()
    done = run_python(STEP, cache)
    assert "ticks 4" in done.stdout, done.stderr
    if damage != "a folder":
        assert file.read_bytes() == meshes["goal_blue"]
    assert [f for f in tmp_path.iterdir() if f != cache] == []


def test_a_stranger_in_the_cache_is_left_alone_and_not_read(cache: Path, tmp_path: Path) -> None:
    """RocketSim reads every .cmf file it finds; one that is not ours could hang it."""
    (inner,) = cache.glob("rlai/meshes-*/soccar")
    stranger = inner / "mine.cmf"
    stranger.write_bytes(b"")
    done = run_python(STEP, cache)
    assert "ticks 4" in done.stdout, done.stderr
    assert stranger.exists()
    assert [f for f in tmp_path.iterdir() if f != cache] == []


@pytest.mark.parametrize("place", ["a file", "relative", "unset"])
def test_a_cache_folder_that_cannot_be_used(tmp_path: Path, place: str) -> None:
    """A read-only or odd home folder must not keep the arena from starting."""
    cache = tmp_path / "cache"
    if place == "a file":
        cache.write_text("")
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path), "HOME": str(tmp_path / "home")}
    if place == "relative":
        environment["XDG_CACHE_HOME"] = "cache"
    elif place == "unset":
        del environment["XDG_CACHE_HOME"]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(STEP)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ticks 4" in done.stdout, done.stderr
    assert not list(tmp_path.glob("rlai-meshes-*"))
    assert bool(list(tmp_path.glob("home/.cache/rlai/meshes-*"))) == (place != "a file")


def test_nowhere_to_write_is_one_sentence(
    meshes: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk should say what to do, not show a traceback."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(blocked))
    with pytest.raises(UserError, match="cannot be written anywhere"):
        ready_folder(meshes)


def test_processes_that_start_together_share_the_cache(tmp_path: Path) -> None:
    """Two arenas opened at once must not show each other half-written files."""
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", textwrap.dedent(STEP)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(tmp_path)}
    running = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert "ticks 4" in out, err
    assert len(list(cache.glob("rlai/meshes-*/soccar/*"))) == 10
    assert not list(cache.glob("rlai/meshes-*/.*"))
    assert not list(tmp_path.glob("rlai-meshes-*"))


def test_threads_and_forks_share_one_start(tmp_path: Path) -> None:
    """A second start hangs for ever, so threads, later callers and forked children must all use the first."""
    done = run_python(
        """
        import os, threading
        from rl_utils.arena.meshes import rocketsim
        def step():
            rs = rocketsim()
            rs.Arena(rs.GameMode.SOCCAR).step(1)
        threads = [threading.Thread(target=step) for _ in range(4)]
        for thread in threads:
            thread.start()
        children = []
        for _ in range(3):  # some of them while a thread is within the start
            child = os.fork()
            if child == 0:
                step()
                os._exit(7)
            children.append(child)
        for thread in threads:
            thread.join()
        step()
        print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
        """,
        tmp_path / "cache",
    )
    assert "[7, 7, 7]" in done.stdout, done.stderr


def test_other_code_may_have_started_rocketsim_already(tmp_path: Path) -> None:
    """Somebody who mixes the arena with RLGym in one process has RocketSim running before us."""
    done = run_python(
        """
        import RocketSim
        from rl_utils.arena.mesh_geometry import build_meshes
        from rl_utils.arena.meshes import ready_folder
        folder, _ = ready_folder(build_meshes())
        RocketSim.init(str(folder))
        from rl_utils.arena.world import World
        world = World("kickoff", 0)
        print("car at", world.snapshot().cars[0].body.position[2])
        """,
        tmp_path / "cache",
    )
    assert "car at 17.0" in done.stdout, done.stderr
    assert "that code's walls" in done.stderr


def test_a_missing_rocketsim_names_the_command(tmp_path: Path) -> None:
    """Without the extra, or on a processor without a package, the person needs one line and no traceback."""
    done = run_python(
        """
        import sys
        sys.modules["RocketSim"] = None  # Python's way of making an import fail
        from rl_utils.arena.score import main
        sys.exit(main(["--driver", "idle", "--episodes", "1"]))
        """,
        tmp_path / "cache",
    )
    assert done.returncode == 2
    assert "pip install -e '.[arena]' in the clone" in done.stderr
    assert "Traceback" not in done.stderr
