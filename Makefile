# make demo   see bad releases taken back, live (ARGS="--fast", "--scenario errors", "--output json")
# make test   every gate: style, types, layers, tests
# make check  the quick gates alone: style, types, layers
# make bench  measure what the docs promise; writes bench/results/
.PHONY: demo test check bench setup dev lock

setup:
	@scripts/setup.sh runtime

dev:
	@scripts/setup.sh dev

demo: setup
	@.venv/bin/sternway demo $(ARGS)

check: dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: check
	.venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: dev
	.venv/bin/python -m bench $(ARGS)

lock: dev
	.venv/bin/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade \
		pyproject.toml requirements/build.in -o requirements/runtime.txt
	.venv/bin/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade \
		pyproject.toml requirements/build.in --group dev -o requirements/dev.txt
