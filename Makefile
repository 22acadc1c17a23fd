# What people type. Every target works on a fresh clone.
.PHONY: demo test lint bench soak tools build clean
.DEFAULT_GOAL := build

YUNDU := target/debug/yundu

tools:
	@scripts/install-tools.sh

build:
	cargo build -p yundu

# The whole story on this machine, in about a minute after the build.
demo: tools build
	$(YUNDU) demo $(DEMO_FLAGS)

test: tools
	cargo test --workspace

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null 2>&1; then cargo deny check licenses bans; \
	else echo "cargo-deny is not installed: licences not checked"; fi

# Side by side with the tools people use today; figures in target/bench/*.json.
bench: tools build
	cargo run -p yundu-bench -- --tmpfs $(BENCH_FLAGS)

# Long runs: many seeds of the simulator, many kills.
soak: tools build
	YUNDU_SEEDS=20000 cargo test -p yundu-replicate-core --test simulator -- --nocapture
	cargo test -p yundu-replicate-core --features planted-bugs --test simulator --lib
	YUNDU_KILLS=50 cargo test -p yundu --test volumes -- --nocapture kills
	YUNDU_KILLS=50 cargo test -p yundu --test moves -- --nocapture kills

clean:
	cargo clean
