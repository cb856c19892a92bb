PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# What the demo needs, and no more: neither torch nor what this package is worked on with.
SHOWN := .venv/.demo
STAMP := $(shell date +%Y-%m-%d_%H-%M-%S)
DEMO := runs/demo_$(STAMP)

.PHONY: demo fair test verify clients clients-all lint bench docs tensorboard clean

# Calibrates a market from a grocery chain's sales, trains competitive and cooperative sellers in it, five seeds each,
# evaluates them beside the prices that were observed, makes the chain's own price list, prints the paths of the pages.
SEEDS := learner.num_seeds=5
# What takes longest is left to those who ask for it: fitted rules, and training a best response to every seller.
SHORT := 'rules=[simulated_nash,simulated_joint,observed]' best_response=0 episodes=32
MARKET := market.path=$(DEMO)/calibration/market.yaml
demo: $(SHOWN)
	$(BIN)/python -m marl_pricing.calibration settings=examples/grocery/calibration.yaml out=$(DEMO)/calibration
	$(BIN)/python train.py experiment=grocery $(MARKET) $(SEEDS) name=competitive run.folder=$(DEMO)/competitive
	$(BIN)/python train.py experiment=grocery $(MARKET) $(SEEDS) name=cooperative market.reward.omega=0 run.folder=$(DEMO)/cooperative
	$(BIN)/python evaluate.py run=$(DEMO)/competitive run=$(DEMO)/cooperative out=$(DEMO)/evaluation $(SHORT)
	$(BIN)/python -m marl_pricing.pricelist settings=examples/grocery/pricelist.yaml out=$(DEMO)/pricelist

# Simulates a log of promotions, learns its customers and one fair policy for them, prints the path of the page.
FAIR := runs/fair_$(STAMP)
fair: $(SHOWN)
	$(BIN)/python train.py experiment=fair_promotion run.folder=$(FAIR)

# Style, types, and every test but the long verifications.
# Tests start many processes: what one has compiled of its modules is there for the next, whatever the shell says.
BYTECODE := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.venv/bytecode
PYTEST := $(BYTECODE) $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test: $(INSTALLED) lint
	$(PYTEST) -m "not slow"

# The long verifications: they train, or simulate for statistics.
verify: $(INSTALLED)
	$(PYTEST) -m slow

# What other people learn with (docs/clients.md), in environments of their own; heavy ones ask for versions of their own.
clients: .venv-clients/.installed
	$(BYTECODE) JAX_PLATFORMS=cpu .venv-clients/bin/python -m pytest -n 2 --dist loadfile tests/clients -m "not heavy"

clients-all: clients .venv-clients-all/.installed
	$(BYTECODE) JAX_PLATFORMS=cpu .venv-clients-all/bin/python -m pytest tests/clients -m heavy

.venv-clients/.installed: EXTRA = clients
.venv-clients/.installed: PINS = -c constraints.txt -c constraints-clients.txt
.venv-clients-all/.installed: EXTRA = clients-all
.venv-clients-all/.installed: PINS = -c constraints-clients-all.txt
.venv-clients/.installed .venv-clients-all/.installed: pyproject.toml constraints.txt constraints-clients.txt constraints-clients-all.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile $(PINS) -e '.[$(EXTRA)]'
	touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --num-workers 2

# The figures of docs/speed.md.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# The documentation as a site; `python docs/gallery.py` makes the figures of its gallery.
docs: $(INSTALLED)
	$(BIN)/python -m sphinx -b html -q docs docs/_build
	@echo docs/_build/index.html

tensorboard: $(SHOWN)
	$(BIN)/tensorboard --logdir runs --port 6006

PIP = $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
$(SHOWN): pyproject.toml constraints.txt
	$(PIP) -e '.[calibration]'
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	touch $@ $(SHOWN)

clean:
	rm -rf .venv .venv-clients .venv-clients-all .pytest_cache .mypy_cache .ruff_cache .hypothesis
