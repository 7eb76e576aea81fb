# Two commands for a fresh machine: `make demo` and `make test`. Each installs what it needs into .venv first.
PYTHON ?= python3
MINUTES ?= 10
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SYSTEM := xvfb openbox xdotool x11-utils
SYSTEM_OF_TESTS := sway xwayland pipewire wireplumber dbus-daemon gstreamer1.0-tools gstreamer1.0-pipewire gstreamer1.0-plugins-base
TESTS := tests
RLGYM := .cache/rlgym
RLGYM_STAMP := $(RLGYM)/2.0.1

.PHONY: demo test install system format clean

demo: install system
	$(BIN)/python -m rl_utils.demo --minutes $(MINUTES)

test: SYSTEM += $(SYSTEM_OF_TESTS)
test: install system $(RLGYM_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(TESTS)

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is older than 3.11. Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || sh tests/system_packages.sh python3-venv
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make virtual environments. Run: sudo apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet torch==2.13.0 --constraint constraints.txt
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

# RLGym's own Rocket League package, for tests alone: it pins numpy < 2, which it does not need, so it stands in a folder of
# its own, without its dependencies, and without the game's meshes that it brings.
$(RLGYM_STAMP): | $(STAMP)
	rm -rf $(RLGYM)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --no-deps --target $(RLGYM) \
	  rlgym-rocket-league==$(notdir $(RLGYM_STAMP))
	rm -rf $(RLGYM)/rlgym/rocket_league/sim/collision_meshes
	@touch $@

system:
	@sh tests/system_packages.sh $(SYSTEM)

format:
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .cache build *.egg-info
