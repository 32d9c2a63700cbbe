# What you need is one command: it makes .venv, installs everything that constraints.txt pins, and runs.
# The environment is kept, and only brought up to date when pyproject.toml or constraints.txt change.
#
# PyTorch comes for CPU only or for one kind of GPU. On Linux plain pip takes the build for NVIDIA GPUs, which runs on any CPU
# too but is several gigabytes large; on macOS and Windows it takes the CPU's. To have another, put it there first, with the
# options that https://pytorch.org/get-started/locally/ shows for your machine; make then leaves it as it is:
#
#     python3 -m venv .venv
#     .venv/bin/pip install torch==2.13.0 OPTIONS
#     make demo

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# a process a core, but no more than four, since each holds a torch of its own; files stay whole, for their fixtures train models,
# and come in the order of tests/conftest.py, which begins with those that take longest
PYTEST ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo test coverage check smoke docs package format constraints sbom licenses audit clean

help: ## show this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

install: $(INSTALLED) ## make .venv ready to work in

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("ccvae needs Python 3.11 or newer, and $(PYTHON) is %d.%d: make PYTHON=python3.12, or wherever yours is" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_OPTIONS) --constraint constraints.txt --editable '.[datasets,docs,hub,log,onnx,sklearn,test]'
	@touch $@

demo: runs/demo/report.html ## train on drawn faces with few labels and show what was learned (some minutes)
	@echo
	@echo "The report, with all pictures: $(CURDIR)/$<"
	@echo "To train anew, delete runs/demo first."

# goes on where an interrupted run stopped
runs/demo/report.html: | $(INSTALLED)
	$(BIN)/ccvae train avatars --data.labelled 800 --out runs/demo $(if $(wildcard runs/demo/checkpoints/last.ckpt runs/demo/checkpoints/*/*),--resume)

test: $(INSTALLED) ## everything that CI checks
	$(MAKE) --jobs 2 check smoke
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST)

coverage: $(INSTALLED) ## lines and branches that tests reach in the model's core and the data readers, 95 % at least (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/coverage_table.py

check: $(INSTALLED) ## layout, style and types of the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

smoke: $(INSTALLED) ## a tiny run of the command line, from training to pictures
	rm -rf build/smoke
	$(BIN)/ccvae train digits --training.epochs 1 --out build/smoke
	$(BIN)/ccvae predict build/smoke --out build/smoke/predictions.csv
	$(BIN)/ccvae generate build/smoke --given digit=3 --out build/smoke/threes.png

docs: $(INSTALLED) ## the documentation site in build/site; executes the tutorials (minutes), and any broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

package: $(INSTALLED) ## build wheel and source distribution into build/dist, and try them in fresh environments
	$(BIN)/python -m hatchling build -d build/dist
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/test_package.py

format: $(INSTALLED) ## lay the code out
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

constraints: ## pin the newest versions that fit together (then run the tests)
	rm -rf $(VENV)-fresh
	$(PYTHON) -m venv $(VENV)-fresh
	$(VENV)-fresh/bin/python -m pip install torch==2.13.0 '.[datasets,docs,hub,log,onnx,sklearn,test]'
	{ sed '/^[^#]/,$$d' constraints.txt; $(VENV)-fresh/bin/python -m pip freeze --exclude ccvae | sed -E 's/\+[a-z0-9.]+$$//'; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf $(VENV)-fresh

# in an environment of their own, so that they are no dependencies of the package
TOOLS := build/tools/bin
$(TOOLS)/cyclonedx-py:
	$(PYTHON) -m venv build/tools
	$(TOOLS)/python -m pip install cyclonedx-bom==7.5.0 pip-licenses==5.5.5 pip-audit==2.10.1

sbom: $(INSTALLED) $(TOOLS)/cyclonedx-py ## list all that is installed, as CycloneDX: build/sbom.json
	$(TOOLS)/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible --of JSON -o build/sbom.json $(BIN)/python

licenses: $(INSTALLED) $(TOOLS)/cyclonedx-py ## list the licenses of all that is installed: build/licenses.md
	$(TOOLS)/pip-licenses --python $(BIN)/python --with-urls --format markdown --order license > build/licenses.md
	$(TOOLS)/pip-licenses --python $(BIN)/python --summary

audit: $(TOOLS)/cyclonedx-py ## look up known vulnerabilities of what constraints.txt pins; needs pypi.org
	$(TOOLS)/pip-audit --no-deps --disable-pip --requirement constraints.txt

clean: ## remove .venv and all caches; runs/ stays
	rm -rf $(VENV) $(VENV)-fresh build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
