# `make help` lists the targets. `run` and `test` need only Rust and make.

program = $(or $(CARGO_TARGET_DIR),target)/release/turnwheel
harness = $(or $(CARGO_TARGET_DIR),compare/target)/release/turnwheel-compare

# Filters that leave out the tests of the parked edge alone.
of_the_parked_edge = --skip parked:: --skip attacks:: --skip scale::

.PHONY: help run demo curl test lint check test-heavy compare lesson build-compare test-compare test-browser fuzz model build install clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Run two demo backends and the balancer in front of them, until Ctrl-C
	$(program) demo

demo: build ## Start the demo, send four requests, and check that the backends took turns
	@log=$$(mktemp); \
	$(program) demo > $$log & pid=$$!; \
	trap 'kill $$pid 2>/dev/null; wait $$pid; rm $$log' EXIT; trap 'exit 1' INT TERM; \
	until grep -q 'Load balancer' $$log; do kill -0 $$pid 2>/dev/null || exit 1; sleep 0.1; done; \
	cat $$log; \
	replies=$$($(MAKE) --no-print-directory curl) && echo "$$replies" && \
	turns=$$(echo $$replies | sed 's/Hello from backend server on //g') && \
	if [ "$$turns" = ':8081 :8082 :8081 :8082' ]; then echo 'Each backend had its turn.'; \
	else echo 'The backends did not take turns.' >&2; exit 1; fi

curl: ## Send four requests to a running balancer
	@for i in 1 2 3 4; do curl -s http://localhost:8080/ || exit; done

test: ## Run all tests but the heavy ones, with each edge
	cargo test --locked
	TURNWHEEL_TEST_EDGE=tiny-http cargo test --locked --test it -- $(of_the_parked_edge) --skip tidy:: --skip layout:: --skip source::

lint: ## Check format, clippy and documentation, warnings denied, for each set of features
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --features cli --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --lib --examples -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

check: lint test ## Run lint and test, which must pass before a change is merged

test-heavy: ## Run the tests that take minutes or move gigabytes
	cargo test --locked --release --test it -- --ignored --test-threads=1
	TURNWHEEL_TEST_EDGE=tiny-http cargo test --locked --release --test it -- --ignored --test-threads=1 $(of_the_parked_edge)

compare: build-compare ## Measure turnwheel and other balancers and write a report; ARGS=--quick takes three minutes
	$(harness) run $(ARGS)

lesson: build-compare ## Run an exercise of docs/lessons.md: LESSON=pool-size, head-of-line, idle, full-queue, freeze
	$(harness) lesson $(or $(LESSON),pool-size)

build-compare: build
	cd compare && cargo build --locked --release

test-compare: build-compare ## Check and test compare/, with a smoke test of every balancer
	cd compare && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked
	$(harness) smoke
	cd compare && cargo test --locked -p turnwheel-compare -- --ignored

test-browser: build ## Check and test the live page in a browser; needs Chromium (tests are ignored without it) and a C compiler
	cd browser && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked

# Seconds for each target.
SECONDS = 60

fuzz: ## Fuzz the parsers of the parked edge, for SECONDS=60 each; needs a C++ compiler
	cd fuzz && cargo build --locked --release && for target in request_head chunked_body pipeline; do \
		mkdir -p corpus/$$target artifacts/$$target && \
		cargo run --locked --release --quiet --bin $$target -- -dict=http.dict -artifact_prefix=artifacts/$$target/ \
			-max_total_time=$(SECONDS) -print_final_stats=1 corpus/$$target seeds/$$target || exit; \
	done

model: ## Model-check the in-flight limit and the swap of configuration
	cd models && cargo fmt --check && cargo clippy --locked -- -D warnings && cargo run --locked --release

build: ## Build the release binary
	cargo build --locked --release

install: ## Install the program for the current user
	cargo install --path . --locked

clean: ## Remove all build output
	cargo clean
	cd compare && cargo clean
	cd browser && cargo clean
