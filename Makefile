# Installs itself into .venv; needs Python 3.11 to 3.13 with venv and headers, pip, make, gcc, g++.

VENV := .venv
INSTALLED := $(VENV)/installed
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench weights setup clean

help:
	@echo "make demo    draw a gallery, index it, ask it: the whole path on this machine"
	@echo "make test    lint, types, and all tests"
	@echo "make lint    lint and types alone"
	@echo "make bench   measure the time of each step, and the memory"
	@echo "make weights train models like the shipped ones from the pictures in DATA (hours; goes on where it was stopped)"
	@echo "make setup   install into $(VENV); the others do so by themselves"
	@echo "make clean   remove build, with what the demo drew, and caches; $(VENV) and trainings in runs stay"

demo: $(INSTALLED)
	@$(BIN)/familiar demo --once

test: lint
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks

DATA := ../shared/data
RUNS := runs/shipped
# Series with characters, and copies of pictures, that results are reported on: what is learned of is
# a copy without them. With other pictures in DATA, name those: make weights DATA=... REPORTED="...".
REPORTED := code_geass neon_genesis_evangelion rezero steins_gate
UNBOXED = --unboxed $(RUNS)/series --crops $(DATA)/characters/train
# The detector that was trained, not the one in use: other crops would be other pictures to go on with, and
# are refused by what follows.
HEADS = --detector saved-model:$(RUNS)/refiner/familiar-face --margin 0.7 --lift 0.5 --smallest 28
FACES = $(DATA)/characters/train --unlabelled $(DATA)/unlabelled
JOINED = --colours $(RUNS)/series --unlabelled $(DATA)/unlabelled --unlabelled $(RUNS)/heads/faces \
	--unlabelled $(RUNS)/heads/series --characters $(DATA)/frames

weights: $(INSTALLED)
	rm -rf $(RUNS)/series
	mkdir -p $(RUNS)
	cp -r $(DATA)/series $(RUNS)/series
	for each in $(REPORTED); do rm -r $(RUNS)/series/$$each || exit 1; done
	$(BIN)/familiar train detector $(DATA)/faces --also $(DATA)/frames --epochs 32 \
		--out $(RUNS)/detector-first --resume
	$(BIN)/familiar train detector $(DATA)/faces --also $(DATA)/frames --epochs 40 --rate 0.0012 \
		--start $(RUNS)/detector-first/detector.safetensors \
		$(UNBOXED) --out $(RUNS)/detector-second --resume
	$(BIN)/familiar train refiner $(DATA)/faces --also $(DATA)/frames \
		--detector $(RUNS)/detector-second/familiar-face \
		--start $(RUNS)/detector-second/detector.safetensors \
		--unboxed $(RUNS)/series --out $(RUNS)/refiner-first --resume
	$(BIN)/familiar train detector $(DATA)/faces --also $(DATA)/frames --epochs 40 --rate 0.001 \
		--strong --start $(RUNS)/detector-second/detector.safetensors $(UNBOXED) \
		--teacher $(RUNS)/refiner-first/familiar-face --out $(RUNS)/detector-third --resume
	$(BIN)/familiar train refiner $(DATA)/faces --also $(DATA)/frames --epochs 3 --rate 0.0006 \
		--strong --detector $(RUNS)/detector-third/familiar-face $(UNBOXED) \
		--start $(RUNS)/refiner-first/refiner.safetensors --out $(RUNS)/refiner-third --resume
	$(BIN)/familiar train detector $(DATA)/faces --also $(DATA)/frames --epochs 28 --rate 0.0007 \
		--strong --plain-epochs 0 --kept 0.5 $(UNBOXED) \
		--start $(RUNS)/detector-third/detector.safetensors \
		--teacher $(RUNS)/refiner-third/familiar-face --out $(RUNS)/detector --resume
	$(BIN)/familiar train refiner $(DATA)/faces --also $(DATA)/frames --epochs 3 --rate 0.0006 \
		--strong --detector $(RUNS)/detector/familiar-face $(UNBOXED) \
		--start $(RUNS)/refiner-third/refiner.safetensors --out $(RUNS)/refiner --resume
	$(BIN)/familiar data crop $(DATA)/faces --out $(RUNS)/heads/faces $(HEADS)
	$(BIN)/familiar data crop $(RUNS)/series --out $(RUNS)/heads/series $(HEADS)
	$(BIN)/familiar train pretraining $(RUNS)/heads/series $(RUNS)/heads/faces $(DATA)/unlabelled \
		--out $(RUNS)/pretraining --resume
	for seed in 7 9; do $(BIN)/familiar train extractor $(FACES) --start $(RUNS)/pretraining \
		--epochs 5 --seed $$seed --out $(RUNS)/face-$$seed --resume || exit 1; done
	$(BIN)/familiar train extractor $(RUNS)/series --of pictures \
		--unlabelled $(DATA)/faces --held-out 6 --out $(RUNS)/picture --resume
	$(BIN)/familiar train assemble $(RUNS)/face-7 $(RUNS)/picture $(JOINED) \
		--beside $(RUNS)/face-9 --out $(RUNS)/first
	rm -rf $(RUNS)/grouped
	$(BIN)/familiar data group $(RUNS)/heads/series --extractor trained:$(RUNS)/first \
		--like 0.5 --out $(RUNS)/grouped
	$(BIN)/familiar train extractor $(FACES) --also $(RUNS)/grouped --identities 64 --seed 12 \
		--out $(RUNS)/face-12 --resume
	$(BIN)/familiar train assemble $(RUNS)/face-7 $(RUNS)/picture $(JOINED) \
		--beside $(RUNS)/face-9 --beside $(RUNS)/face-12 --out $(RUNS)/familiar-character
	@echo "$(RUNS)/refiner/familiar-face and $(RUNS)/familiar-character go into core/models"

setup: $(INSTALLED)

# TensorFlow has no wheels yet for Pythons that are newer than those named here.
$(INSTALLED): pyproject.toml
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
			2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Python 3.11, 3.12 or 3.13 with venv is needed; name it with make PYTHON=..." >&2; exit 1; \
	fi; \
	[ -x $(BIN)/python ] || $$found -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
