# The one entry point: everything CI runs is a target here.
#
#   make demo    build and run three organizations on this machine
#   make test    everything that must be green; installs PostgreSQL and the Python clients itself
#   make bench   figures, written to bench/ (a release build; not part of the tests)

# A target folder outside the clone survives a fresh clone and is shared by them.
CARGO_TARGET_DIR ?= $(HOME)/.cache/comity/target
export CARGO_TARGET_DIR

PYTHON ?= python3
VENV   := $(CARGO_TARGET_DIR)/venv
COMITY := $(CARGO_TARGET_DIR)/debug/comity

.PHONY: postgres oidc faketime demo build test lint unit vectors scenarios clients fuzz fuzz-build fuzz-smoke fuzz-smoke-node fuzz-merge release bench bench-exchange bench-sources bench-memory bench-revocation bench-governance bench-evidence bench-stream bench-calls bench-federation fmt clean-venv

demo:
	cargo run --locked --quiet -p comity -- demo

build:
	cargo build --locked -p comity

test: lint unit vectors scenarios clients fuzz-smoke
	@echo "all green"

lint:
	@cargo fmt --version >/dev/null 2>&1 || { echo "rustfmt is missing: rustup component add rustfmt (or your system's package rustfmt)" >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { echo "clippy is missing: rustup component add clippy (or your system's package rust-clippy)" >&2; exit 1; }
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings

# With the venv: it writes the Delta tables and runs the S3 server that sources are tested against.
unit: postgres $(VENV)/ready
	COMITY_PYTHON=$(VENV)/bin/python cargo test --locked -p comity-identity -p comity-protocol -p comity

# A real server to test the PostgreSQL source against; the tests start and stop their own.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq postgresql; }

# Shows a node another time of the day: what happens to clocks that are set.
faketime:
	@ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq faketime; }

# A real OpenID Connect server, which a scenario starts.
oidc:
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq nodejs npm; }
	@mkdir -p $(CARGO_TARGET_DIR)/oidc
	@cp tests/oidc/package.json tests/oidc/package-lock.json tests/oidc/server.js $(CARGO_TARGET_DIR)/oidc
	@cd $(CARGO_TARGET_DIR)/oidc && { cmp -s package-lock.json installed.json || { npm ci --silent --no-audit --no-fund && cp package-lock.json installed.json; }; }

# The published test vectors, checked without any code of ours; and that the
# rules of the specification and the code name each other.
vectors:
	@command -v openssl >/dev/null || apt-get install -y -qq openssl
	$(PYTHON) spec/vectors/verify.py
	$(PYTHON) spec/verifier/check_bundle.py
	$(PYTHON) spec/citations.py

# Real node processes on loopback.
# The credentials are those of the S3 server that a scenario starts on loopback.
scenarios: build postgres oidc faketime $(VENV)/ready $(VENV)-contracts/ready
	COMITY_BIN=$(COMITY) COMITY_OIDC=$(CARGO_TARGET_DIR)/oidc COMITY_PYTHON=$(VENV)/bin/python COMITY_DATACONTRACT=$(VENV)-contracts/bin/datacontract \
	DATACONTRACT_S3_ACCESS_KEY_ID=scenario-key DATACONTRACT_S3_SECRET_ACCESS_KEY=scenario-secret \
	cargo test --locked -p comity-tests

# Ordinary Flight SQL clients against the running demo.
clients: build $(VENV)/ready
	COMITY_BIN=$(COMITY) $(VENV)/bin/python -m pytest -q tests/clients

$(VENV)/ready: tests/clients/requirements.txt
	$(PYTHON) -m venv $(VENV) || { apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(VENV); }
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	touch $@

# The command that other tools of the ecosystem check a contract with.
$(VENV)-contracts/ready: tests/ecosystem/requirements.txt $(VENV)/ready
	$(PYTHON) -m venv $(VENV)-contracts
	$(VENV)-contracts/bin/pip install --quiet --disable-pip-version-check -r tests/ecosystem/requirements.txt
	touch $@

# Fuzzing (fuzz/README.md): `make fuzz` tries every target for ten minutes. On the compiler that everything is
# built with; only our own crates are instrumented. The smoke run is a part of `make test` for what builds in seconds;
# for the node, whose build takes minutes, `make unit` tries the seeds and changes of them, and fuzz-smoke-node libFuzzer.
FUZZ_PURE := envelope history organization grant terms descriptor statements
FUZZ_NODE := wire flight values gate contract
FUZZ_SECONDS ?= 600
FUZZ_BUILD := cd fuzz && RUSTC_WRAPPER=$(CURDIR)/fuzz/instrument.sh cargo build --locked --quiet

fuzz-build:
	$(FUZZ_BUILD) --bins

fuzz: fuzz-build
	@for target in $(FUZZ_PURE) $(FUZZ_NODE); do fuzz/run.sh $$target $(FUZZ_SECONDS) || exit 1; done

fuzz-smoke:
	$(FUZZ_BUILD) -p comity-fuzz-pure
	@echo $(FUZZ_PURE) | xargs -n 1 -P 2 sh -c 'fuzz/run.sh $$0 10'

fuzz-smoke-node: fuzz-build
	@echo $(FUZZ_NODE) | xargs -n 1 -P 2 sh -c 'fuzz/run.sh $$0 10'

# What runs found beyond the seeds, as few small files as cover the same, into fuzz/seeds.
fuzz-merge: fuzz-build
	@for target in $(FUZZ_PURE) $(FUZZ_NODE); do fuzz/merge.sh $$target || exit 1; done

# Each writes a file into bench/. The figures are ratios within one run, or sizes: none is a test.
bench: bench-exchange bench-sources bench-memory bench-revocation bench-governance bench-evidence bench-stream bench-calls bench-federation

RELEASE := $(CARGO_TARGET_DIR)/release

release:
	cargo build --locked --release -p comity -p comity-tests --bins

bench-exchange: release
	COMITY_BIN=$(RELEASE)/comity $(RELEASE)/bench_exchange

bench-governance: release
	$(RELEASE)/bench_governance

# ROAPI is a server to compare with, in a folder of its own.
bench-stream: release $(VENV)/ready
	$(PYTHON) -m venv $(VENV)-roapi
	$(VENV)-roapi/bin/pip install --quiet --disable-pip-version-check roapi==0.12.7
	COMITY_ROAPI=$(VENV)-roapi/bin/roapi COMITY_PYTHON=$(VENV)/bin/python $(RELEASE)/bench_stream

bench-calls: release
	$(RELEASE)/bench_calls

bench-evidence: release
	COMITY_BIN=$(RELEASE)/comity $(RELEASE)/bench_evidence

bench-revocation: release
	COMITY_BIN=$(RELEASE)/comity $(RELEASE)/bench_revocation

# ADBC's driver for PostgreSQL is in a folder of its own.
bench-sources: release postgres
	$(PYTHON) -m venv $(VENV)-adbc
	$(VENV)-adbc/bin/pip install --quiet --disable-pip-version-check adbc-driver-postgresql adbc-driver-manager pyarrow
	COMITY_PYTHON=$(VENV)-adbc/bin/python $(RELEASE)/bench_sources

bench-federation: release $(VENV)/ready
	COMITY_BIN=$(RELEASE)/comity COMITY_PYTHON=$(VENV)/bin/python $(RELEASE)/bench_federation

bench-memory: release postgres $(VENV)/ready
	COMITY_BIN=$(RELEASE)/comity COMITY_PYTHON=$(VENV)/bin/python \
	DATACONTRACT_S3_ACCESS_KEY_ID=bench-key DATACONTRACT_S3_SECRET_ACCESS_KEY=bench-secret $(RELEASE)/bench_memory

fmt:
	cargo fmt --all
	cargo fmt --all --manifest-path fuzz/Cargo.toml
