# `make help` lists what can be asked for. Rust and make are all that `run` and `test` need.

program = $(or $(CARGO_TARGET_DIR),target)/release/turnwheel
harness = $(or $(CARGO_TARGET_DIR),compare/target)/release/turnwheel-compare

# What there is no use in running against the other edge.
of_the_parked_edge = --skip parked:: --skip attacks:: --skip scale::

.PHONY: help run demo curl test lint check test-heavy compare lesson build-compare test-compare test-browser fuzz model build install clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Two demo backends and the balancer in front of them, until Ctrl-C
	$(program) demo

demo: build ## The same, with four requests and a look at whose turn it was
	@log=$$(mktemp); \
	$(program) demo > $$log & pid=$$!; \
	trap 'kill $$pid 2>/dev/null; wait $$pid; rm $$log' EXIT; trap 'exit 1' INT TERM; \
	until grep -q 'Load balancer' $$log; do kill -0 $$pid 2>/dev/null || exit 1; sleep 0.1; done; \
	cat $$log; \
	replies=$$($(MAKE) --no-print-directory curl) && echo "$$replies" && \
	turns=$$(echo $$replies | sed 's/Hello from backend server on //g') && \
	if [ "$$turns" = ':8081 :8082 :8081 :8082' ]; then echo 'Each backend had its turn.'; \
	else echo 'The backends did not take turns.' >&2; exit 1; fi

curl: ## Four requests to a balancer that runs already
	@for i in 1 2 3 4; do curl -s http://localhost:8080/ || exit; done

test: ## All tests but the heavy ones, against either edge
	cargo test --locked
	TURNWHEEL_TEST_EDGE=tiny-http cargo test --locked --test it -- $(of_the_parked_edge) --skip tidy::

lint: ## Format, clippy and documentation, warnings denied, with the command line, without top, and without both
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --features cli --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --lib --examples -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

check: lint test ## What must hold before a change goes in

test-heavy: ## Tests that need minutes or move gigabytes
	cargo test --locked --release --test it -- --ignored --test-threads=1
	TURNWHEEL_TEST_EDGE=tiny-http cargo test --locked --release --test it -- --ignored --test-threads=1 $(of_the_parked_edge)

compare: build-compare ## Measure turnwheel and other balancers and write a report; ARGS=--quick takes three minutes
	$(harness) run $(ARGS)

lesson: build-compare ## Run an exercise of docs/lessons.md: LESSON=pool-size, head-of-line, idle, full-queue, freeze
	$(harness) lesson $(or $(LESSON),pool-size)

build-compare: build
	cd compare && cargo build --locked --release

test-compare: build-compare ## Format, lints and tests of compare/, and a smoke test of every balancer
	cd compare && cargo fmt --check && cargo clippy --locked --all-targets -- -D warnings && cargo test --locked
	$(harness) smoke
	cd compare && cargo test --locked -p turnwheel-compare -- --ignored

test-browser: build ## Format, lints and tests of the live page; needs Chromium (its tests are ignored without) and a C compiler
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

build: ## Build in release
	cargo build --locked --release

install: ## Install the program for the current user
	cargo install --path . --locked

clean: ## Remove what was built
	cargo clean
	cd compare && cargo clean
	cd browser && cargo clean
