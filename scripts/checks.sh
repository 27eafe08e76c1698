# The checks that need nothing running; `make check` and `make test` both call run_checks. Sourced, never run.
# shellcheck shell=bash

doc_check() { RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet; }
pages_check() { npm --prefix web-demo run --silent check; }
deny_check() { cargo deny --workspace check --hide-inclusion-graph; }
scripts_check() {
  shellcheck -e SC1091 scripts/* .ci/run
  local file
  for file in tests/browser/*.mjs tests/browser/*/*.mjs bench/*/*.mjs; do node --check "$file"; done
  python3 -m compileall -q tests/aiortc tests/gstreamer
}

run_checks() {
  step "cargo fmt" cargo fmt --all --check
  step "cargo clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
  step "cargo doc" doc_check
  step "fuzz targets: types" scripts/fuzz check
  step "TypeScript: types, lint, format" pages_check
  step "scripts: shellcheck, syntax" scripts_check
  # Building cargo-deny takes longer than all tests; where it is installed it is part of the run.
  if cargo deny --version >/dev/null 2>&1; then
    step "cargo deny" deny_check
  else
    note "cargo deny is not installed here: licences and advisories are not checked (cargo install cargo-deny --locked)"
  fi
}
