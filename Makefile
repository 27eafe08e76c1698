# Every recipe is one script under scripts/: what runs here is what runs in CI.
.DEFAULT_GOAL := help
.PHONY: help run test bench check fuzz setup clean-assets

help: ## This list.
	@printf 'bicast: one live feed, two paths, one timeline.\n\n'
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nEach one sets up what it needs first and says what it does. README.md tells the rest.\n'

run: ## Build everything, start bicast with a live test picture, print the page's address. Ctrl-C ends it.
	@scripts/run

test: ## All tests: Rust, TypeScript, end to end in Chromium, with aiortc, GStreamer and ffmpeg.
	@scripts/test

bench: ## The table of figures (latency, joins, losses, identity) and the fan-out benchmark. Release build.
	@scripts/bench

check: ## Formatting, lints and documentation only: quick, nothing is started.
	@scripts/check

fuzz: ## Fuzz every target for a minute, or TARGET=sdp for SECONDS=600. Installs cargo-fuzz where it is missing.
	@scripts/fuzz $(or $(TARGET),all) $(or $(SECONDS),60)

setup: ## Only the set-up of `make test`.
	@scripts/setup test

clean-assets: ## Forget the downloaded and generated test media (target/test-assets).
	@rm -rf target/test-assets
