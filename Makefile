# What a newcomer types. Everything that is missing is installed by deploy/setup.sh, or it says what and how.

SHELL := /bin/bash
STORE ?=
FAULTS ?=
SEED ?=
ONLY ?=
MUTANTS ?=
SECONDS ?= 300
STARS ?= 200

.PHONY: help build check test simulate chaos bench demo screenshots fuzz real images clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

build:  ## the three programs, in target/release
	@deploy/setup.sh build && export CMAKE="$$(deploy/setup.sh --cmake)" && cargo build --release --workspace --bins

check:  ## format, lints, documentation, the rules of the tree
	@deploy/setup.sh build && export CMAKE="$$(deploy/setup.sh --cmake)" && \
	cargo fmt --all --check && \
	cargo clippy --workspace --all-targets --quiet -- -D warnings && \
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet && \
	cargo test --quiet --workspace --test tree

test:  ## everything, on real RabbitMQ, Redis, Docker and HDF5
	@deploy/test.sh

simulate:  ## the protocol under simulated faults; FAULTS=1000000 SEED=N ONLY="KIND@N …" MUTANTS=no
	@deploy/setup.sh build && export CMAKE="$$(deploy/setup.sh --cmake)" && \
	FAULTS="$(FAULTS)" SEED="$(SEED)" ONLY="$(ONLY)" MUTANTS="$(MUTANTS)" cargo test --quiet --workspace --test simulate

chaos:  ## a real cluster while everything goes wrong, and an oracle; SECONDS=300 SEED=N STARS=200
	@deploy/setup.sh build && deploy/setup.sh docker && deploy/setup.sh cluster && deploy/setup.sh test && \
	export CMAKE="$$(deploy/setup.sh --cmake)" && cargo build --workspace --bins --quiet && deploy/images/base.sh && \
	bin="$$(realpath "$${CARGO_TARGET_DIR:-target}")/debug" && cd tests && /usr/bin/python3 -m chaos "$$bin" \
	--seconds $(SECONDS) --stars $(STARS) $(if $(SEED),--seed $(SEED)) --report "$(CURDIR)/target/chaos/report.json"

bench:  ## what the cluster does on this machine, beside its limits and peers; figures also in target/bench/results.json
	@deploy/setup.sh build && deploy/setup.sh docker && deploy/setup.sh cluster && deploy/setup.sh test && deploy/setup.sh bench && \
	deploy/bench.sh

demo:  ## a dozen simulated stars, end to end; STORE=DIR, CLUSTER=1
	@deploy/demo.sh $(if $(STORE),--store "$(STORE)") $(if $(CLUSTER),--cluster)

screenshots:  ## a picture of every page, light and dark, wide and narrow, in target/screenshots
	@deploy/setup.sh build && deploy/setup.sh cluster && deploy/setup.sh test && export CMAKE="$$(deploy/setup.sh --cmake)" && \
	cargo build --workspace --bins --quiet && cargo test --quiet --workspace --test screenshots -- "$(CURDIR)/target/screenshots"

fuzz:  ## every reader of bytes from outside on changed ones; the API of a live cluster against its own document, with schemathesis
	@deploy/setup.sh build && deploy/setup.sh cluster && deploy/setup.sh test && export CMAKE="$$(deploy/setup.sh --cmake)" && \
	cargo build --workspace --bins --quiet && PROPTEST_CASES=20000 cargo test --quiet --workspace --test outside && \
	SAS_FUZZ_FILES=3000 SAS_FUZZ_SEED=$$RANDOM cargo test --quiet --workspace --test store_files -- bytes_changed_at_random --nocapture && \
	cargo test --quiet --workspace --test fuzz

real:  ## DATA=DIR: known stars of Kepler, K2 and PLATO's simulator, result beside literature
	@deploy/setup.sh build && deploy/setup.sh docker && deploy/setup.sh test && export CMAKE="$$(deploy/setup.sh --cmake)" && \
	cargo build --workspace --bins && deploy/images/build.sh reference && \
	/usr/bin/python3 deploy/real_stars.py "$${CARGO_TARGET_DIR:-target}/debug/sas" "$(DATA)" "$$(mktemp -d)/real"

images:  ## base image, reference and light modules
	@deploy/setup.sh docker && deploy/images/build.sh

clean:  ## what builds and demos left
	rm -rf target demo
