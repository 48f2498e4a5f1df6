# Halfpipe: one command for everything a person does here. `make help` lists them.
#
# Each target first installs, fetches or builds what it needs, and does nothing where that is there already.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

##? CLIP          video that `make demo` and `make flamegraph` work on
##? OUT           folder that `make demo` writes to
##? ARGS          more arguments for `halfpipe` in demo, doctor, flamegraph and bench, and for the runner in test-unit and bench-parts
##? PACKAGES      install (default), check or skip: what to do about system packages that are missing
##? GUEST_STD     auto (default), rustup or debian: where the guests' standard library comes from
##? PREFIX        where `make install` installs to
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/halfpipe
CLIP ?= $(CACHE)/clips/sports2d_demo.mp4
OUT ?= out/demo
PREFIX ?= $(HOME)/.local
ARGS ?=

# Shell code that starts a Python that is new enough, whatever its name is here.
PYTHON_RUN = python=$$(infra/local/python.sh); set -x; $$python

# Cargo.lock is part of the sources: a build that would change it is an error.
CARGO := cargo
LOCKED := --locked
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
HALFPIPE := $(TARGET_DIR)/release/halfpipe

# A guest is a folder with a Cargo.toml under guest/ (but for the libraries: the kit, and the bindings) or tests/guests/.
GUEST_MANIFESTS := $(filter-out guest/kit/% guest/bindings/%,$(wildcard guest/*/Cargo.toml tests/guests/*/Cargo.toml))
GUEST_PACKAGES := $(foreach manifest,$(GUEST_MANIFESTS),$(shell sed -n '/^name *=/{s/.*"\(.*\)".*/\1/p;q}' $(manifest)))
GUEST_BUILD := --profile guest --target wasm32-wasip2 $(addprefix -p ,$(GUEST_PACKAGES))
# Components are put here whatever CARGO_TARGET_DIR says, so that tests and people know where to look.
GUEST_DIR := target/guests
export HALFPIPE_GUESTS ?= $(CURDIR)/$(GUEST_DIR)
# A reduced HMR2 and a made-up SMPL, imported, which tests of host and guests take as their models' folder.
export HALFPIPE_HMR2_FIXTURE ?= $(CACHE)/hmr2-fixture
# Guests may count on SIMD: every wasmtime has it.
GUEST_RUSTFLAGS := -C target-feature=+simd128
# Shell code that sets up the environment for a guest build.
GUEST_ENV = export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS='$(GUEST_RUSTFLAGS)'; env=$$(infra/local/guest-std.sh); eval "$$env"

# Everything on the host, and the same without the rules of the repository, which are a run of their own. Tests are built
# for all of it at once, so that Cargo settles on the features of `make build` and compiles no dependency twice.
HOST := --workspace $(addprefix --exclude ,halfpipe-bindings $(GUEST_PACKAGES))
PRODUCT := $(HOST) --exclude halfpipe-tidy

# Tests wait for child processes and servers part of the time: half as many again as there are cores keep them busy.
export NEXTEST_TEST_THREADS ?= $(shell echo $$(($$(nproc) * 3 / 2)))

# nextest where it is installed, plain `cargo test` elsewhere: both run the same tests.
ifneq ($(shell command -v cargo-nextest),)
TEST := $(CARGO) nextest run $(LOCKED) --release $(if $(CI),--profile ci)
else
TEST := $(CARGO) test $(LOCKED) --release --lib --bins --tests
endif

##@ Use

.PHONY: help
help: ## This text
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5); next } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables\n'
	@sed -n 's/^##? /  /p' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: ## Draw bodies over a clip, and write the motion beside it
	+@infra/local/phases.sh packages models clips guests build demo-video

.PHONY: demo-video
demo-video:
	@mkdir -p $(OUT)
	$(HALFPIPE) run $(CLIP) -y -o $(OUT)/overlay.mp4 --poses $(OUT)/poses.jsonl --glb $(OUT)/motion.glb \
	  --bvh $(OUT)/motion.bvh --report $(OUT)/report.json $(ARGS)
	@printf '\nThe video, and the motion as data:\n'
	@for file in overlay.mp4 poses.jsonl motion.glb motion.bvh report.json; do printf '  %s\n' "$(abspath $(OUT))/$$file"; done

.PHONY: serve
serve: build guests models ## Start the HTTP API, with a store of its own under ./data
	HALFPIPE_GUESTS=$(GUEST_DIR) $(HALFPIPE) serve $(ARGS)

.PHONY: install
install: build guests ## Install the command, the shipped guests and the models' recipes under PREFIX
	install -D -m 755 $(HALFPIPE) $(PREFIX)/bin/halfpipe
	find $(GUEST_DIR) -name '*.wasm' ! -name 'test_*' -exec install -D -m 644 -t $(PREFIX)/lib/halfpipe/guests {} +
	$(PREFIX)/bin/halfpipe guest precompile --guests $(PREFIX)/lib/halfpipe/guests --out $(PREFIX)/lib/halfpipe/precompiled
	cd models && find *.py catalog.toml recipes -type f ! -name '*.pyc' -exec install -D -m 644 {} $(abspath $(PREFIX))/share/halfpipe/models/{} \;

.PHONY: doctor
doctor: build ## Say what this machine has and what it lacks
	$(HALFPIPE) doctor $(ARGS)

##@ Make

.PHONY: packages
packages: ## Install the system packages that are missing
	@infra/local/packages.sh

.PHONY: models
models: packages ## Make the models and bodies, and get ONNX Runtime
	@$(PYTHON_RUN) models/make.py

.PHONY: clips
clips: packages ## Get the demo clip
	@$(PYTHON_RUN) models/make.py --clips

.PHONY: hmr2-fixture
hmr2-fixture: models ## Make the small HMR2 and SMPL that the tests use
	@$(PYTHON_RUN) models/make.py --hmr2-fixture $(HALFPIPE_HMR2_FIXTURE)

.PHONY: peers
peers: packages ## Get what the service is tested against: a second S3 server, Lambda's emulators, odd requests
	@infra/local/moto.sh >/dev/null
	@infra/local/schemathesis.sh >/dev/null
	@infra/local/emulators.sh >/dev/null

.PHONY: guests
guests: packages ## Build the guests into target/guests/
	@$(GUEST_ENV); set -x; $(CARGO) build $(LOCKED) $(GUEST_BUILD)
	@mkdir -p $(GUEST_DIR); \
	for package in $(GUEST_PACKAGES); do \
	  name=$${package#halfpipe-}; \
	  built=$(TARGET_DIR)/wasm32-wasip2/guest/$${package//-/_}.wasm; \
	  component=$(GUEST_DIR)/$${name//-/_}.wasm; \
	  cmp -s "$$built" "$$component" || { cp "$$built" "$$component.new" && mv "$$component.new" "$$component"; }; \
	done

.PHONY: build
build: packages ## Build the host
	$(CARGO) build $(LOCKED) --release

##@ Check

.PHONY: test
test: ## Everything: lint, and the tests of models, guests, host and deployment files
	+@infra/local/phases.sh packages models clips hmr2-fixture peers guests lint test-docs \
	  test-unit+lint-infra,test-infra,test-peers,test-models

.PHONY: test-unit
test-unit: ## Host tests (after `make models clips hmr2-fixture peers guests`)
	$(TEST) $(PRODUCT) $(ARGS)
	$(CARGO) test $(LOCKED) --release -p halfpipe-overlay -p halfpipe-hmr2 -p halfpipe-planner --lib

.PHONY: openapi
openapi: ## Write docs/openapi.json, and the settings in docs/serving.md, anew from the code
	HALFPIPE_UPDATE=1 $(CARGO) test $(LOCKED) --release -p halfpipe-service --test http --test settings the_document

.PHONY: test-models
test-models: ## Tests of the recipes that make the models
	@$(PYTHON_RUN) models/make.py --test

.PHONY: test-docs
test-docs: ## Examples in the documentation
	$(CARGO) test $(LOCKED) --release --doc $(PRODUCT)

.PHONY: lint
lint: packages ## Formatting, clippy for host and guests, and the rules of this repository
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(LOCKED) --release --all-targets $(HOST) -- -D warnings
	@$(GUEST_ENV); set -x; $(CARGO) clippy $(LOCKED) $(GUEST_BUILD) -- -D warnings
	$(MAKE) --no-print-directory tidy

.PHONY: tidy
tidy: ## The rules of this repository: layers, licences, documentation
	$(TEST) -p halfpipe-tidy

.PHONY: lint-infra
lint-infra: packages ## The files of infra/: templates, manifests, images, scripts
	@infra/lint/run.sh

.PHONY: test-infra
test-infra: packages ## The simulation and the costs that infra/'s pages show, and the bill of materials
	@$(PYTHON_RUN) -m unittest discover --start-directory infra/scaling
	@$(PYTHON_RUN) -m unittest discover --start-directory infra/docker

.PHONY: test-peers
test-peers: packages ## The arithmetic of the bench beside Python peers
	@$(PYTHON_RUN) -m unittest discover --start-directory tests/peers

.PHONY: bench
bench: ## The README's figures: beside Python peers, and against Halfpipe's own floor
	+@infra/local/phases.sh packages models clips guests build bench-drawer bench-run

# Everything that `build` builds as well, so that Cargo settles on the same features.
.PHONY: bench-drawer
bench-drawer:
	$(CARGO) build $(LOCKED) --release $(HOST) --example meshes

.PHONY: bench-run
bench-run:
	@$(PYTHON_RUN) tests/peers/bench.py --halfpipe $(HALFPIPE) --drawer $(TARGET_DIR)/release/examples/meshes $(ARGS)

.PHONY: bench-overlap
bench-overlap: build guests models clips ## The pipeline against running it one frame at a time
	HALFPIPE_GUESTS=$(GUEST_DIR) $(HALFPIPE) bench $(ARGS)

.PHONY: bench-parts
bench-parts: models ## Benchmarks of single parts: image operations, and each network
	$(CARGO) bench $(LOCKED) $(PRODUCT) $(ARGS)

.PHONY: flamegraph
flamegraph: ## Flame graphs of a job, and of the guest alone: out/flamegraph/ (needs Linux's perf)
	+@infra/local/phases.sh packages models clips build flamegraph-run

# The guest once more, with the names of its functions, where it is in nobody's way.
.PHONY: flamegraph-run
flamegraph-run:
	@$(GUEST_ENV); export CARGO_PROFILE_GUEST_STRIP=debuginfo; set -x; \
	  $(CARGO) build $(LOCKED) --profile guest --target wasm32-wasip2 -p halfpipe-overlay --target-dir $(TARGET_DIR)/flamegraph
	@mkdir -p $(TARGET_DIR)/flamegraph/guests
	@cp $(TARGET_DIR)/flamegraph/wasm32-wasip2/guest/halfpipe_overlay.wasm $(TARGET_DIR)/flamegraph/guests/overlay.wasm
	@infra/local/flamegraph.sh $(HALFPIPE) $(TARGET_DIR)/flamegraph/guests out/flamegraph $(CLIP) $(ARGS)

.PHONY: bench-service
bench-service: ## Fifty short jobs on a real server, and how long a look at a status takes meanwhile
	+@infra/local/phases.sh packages models clips guests build load-service

.PHONY: load-service
load-service:
	$(CARGO) test $(LOCKED) --release $(PRODUCT) --test load -- --ignored --nocapture

.PHONY: bench-uploads
bench-uploads: models guests ## Two gibibytes through each door for uploads, and the server's memory (ten gigabytes of disk)
	$(CARGO) test $(LOCKED) --release $(PRODUCT) --test large_uploads -- --ignored --nocapture --test-threads 1

.PHONY: fmt
fmt: ## Format the Rust sources
	$(CARGO) fmt --all

##@ Deploy

.PHONY: lambda-zip
lambda-zip: build guests models ## Put the Lambda function together: target/lambda/halfpipe.zip
	@infra/lambda/zip.sh

.PHONY: lambda-try
lambda-try: lambda-zip ## Run that zip on a clip, under AWS's emulator of Lambda
	@emulators=$$(infra/local/emulators.sh); eval "$$emulators"; moto=$$(infra/local/moto.sh); set -x; \
	  "$$(dirname "$$moto")/python" infra/lambda/try_zip.py $(TARGET_DIR)/lambda/halfpipe.zip \
	  tests/fixtures/clips/tfjs_pose_squats.mp4 "$$HALFPIPE_RIE" "$$moto"

.PHONY: lambda-image
lambda-image: lambda-zip ## The same as an image, by a Docker engine: halfpipe-lambda
	docker build --file infra/docker/Dockerfile.lambda --tag halfpipe-lambda .

.PHONY: sbom
sbom: packages ## Write a bill of materials: target/sbom.cdx.json
	@$(PYTHON_RUN) infra/docker/sbom.py target/sbom.cdx.json

##@ Clean

.PHONY: clean
clean: ## Remove what was built and written here (models and clips stay in the cache)
	$(CARGO) clean
	rm -rf out
