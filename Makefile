# Every target sets up what it needs in .venv; nothing but Python 3.11+ and make has to be there before.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := algorithms cluster formats report container serve command eigenline/*.py image tests benchmarks examples
IMAGE ?= eigenline

.PHONY: help setup demo test lint check fmt bench image image-test tools mutants lock clean

help:            ## show these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(READY)  ## make .venv with everything that development needs
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eigenline needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY)   ## run both MNIST walkthroughs through the real `train` and `serve`
	@$(BIN)/python -m examples.demo

test: $(READY)   ## run all tests; those of the image, which need a Docker engine, are `make image-test`
	$(BIN)/python -m pytest -n auto -m 'not image and not dask'
	@# A cluster's threads and sockets are closed when Python collects them, which other tests would be blamed for.
	$(BIN)/python -m pytest -m 'dask and not image' -W ignore::ResourceWarning \
	  -W ignore::pytest.PytestUnraisableExceptionWarning

lint: $(READY)   ## format, lint and types, of every file of the package
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/python -m tests.check_types

check: lint      ## lint and the fast tests: green before every commit
	$(BIN)/python -m pytest -n auto -m 'not slow and not image and not dask'

bench: $(READY)  ## speed and quality beside the peers (TOPICS="pca csv" runs some)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benchmarks $(TOPICS)

image:           ## build the image (BASE_IMAGE=... names another base, PLATFORM=linux/arm64 another machine)
	DOCKER_BUILDKIT=1 docker build $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	  $(if $(PLATFORM),--platform $(PLATFORM)) \
	  --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	  --build-arg REVISION=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) --tag $(IMAGE) .

lock: $(READY)   ## write the image's pinned, hashed requirements again from pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/python -m uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	  --no-emit-index-url --extra cluster --upgrade --output-file image/requirements.lock pyproject.toml

tools:           ## environments of SageMaker's SDKs, schemathesis and MXNet, for the tests that use them
	@for tool in sdk2 sdk3 schemathesis mxnet; do tests/make_tool.sh $$tool build/$$tool \
	  || echo "$$tool could not be installed here: its tests are skipped" >&2; done

image-test: $(READY) tools image ## build the image and drive it from outside: contract, faults, SageMaker SDKs
	EIGENLINE_IMAGE=$(IMAGE) tests/contract/run_image_tests.sh $(BIN)/python

mutants: $(READY) ## change the code in small ways; list what no test notices (PIECES="formats/csv serve" SAMPLE=50)
	@tests/make_tool.sh mutants build/mutants
	@build/mutants/bin/python tests/mutants.py $(BIN)/python --sample $(or $(SAMPLE),20) $(PIECES)

fmt: $(READY)    ## format, and mend what the linter can mend
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

clean:           ## remove everything that was made here
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
