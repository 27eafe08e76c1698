# What the scripts share: saying what happens, timing it, installing what is missing, ports. Sourced, never run.
# shellcheck shell=bash disable=SC2034  # what is set here is used by those that source it

set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
ASSETS=$ROOT/target/test-assets
# Progress bars are for people: where the output is a log, cargo and npm print lines.
if [[ -t 1 && -z ${CI:-} ]]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
  BOLD='' DIM='' RED='' GREEN='' PLAIN=''
  export CARGO_TERM_PROGRESS_WHEN=never
fi

STEPS=()       # "seconds|status|name" of every step, for the summary
STEP_NUMBER=0
FAILED=0

say() { printf '%s\n' "$*"; }
note() { printf '%s  %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() {
  printf '\n%serror:%s %s\n' "$RED" "$PLAIN" "$1" >&2
  shift
  printf '       %s\n' "$@" >&2
  exit 1
}

# step NAME COMMAND...: announces it, runs it, tells the time it took. A failing step is remembered, not fatal: one run
# tells all that is wrong.
step() {
  local name=$1 began=$SECONDS status=ok
  shift
  STEP_NUMBER=$((STEP_NUMBER + 1))
  printf '\n%s[%d] %s%s\n' "$BOLD" "$STEP_NUMBER" "$name" "$PLAIN"
  # A subshell, so that `set -e` holds inside: bash switches it off in a function called from a condition.
  set +e
  (set -e; "$@")
  local code=$?
  set -e
  if ((code != 0)); then
    status=FAILED
    FAILED=$((FAILED + 1))
    printf '%s[%d] %s: FAILED (exit %d) after %ds%s\n' "$RED" "$STEP_NUMBER" "$name" "$code" $((SECONDS - began)) "$PLAIN"
  else
    printf '%s[%d] %s: ok, %ds%s\n' "$GREEN" "$STEP_NUMBER" "$name" $((SECONDS - began)) "$PLAIN"
  fi
  STEPS+=("$((SECONDS - began))|$status|$name")
}

# must NAME COMMAND...: a step without which the rest makes no sense.
must() {
  step "$@"
  if ((FAILED > 0)); then
    summary || true
    exit 1
  fi
}

summary() {
  local line seconds status name passed=0
  printf '\n%sSummary%s\n' "$BOLD" "$PLAIN"
  for line in "${STEPS[@]}"; do
    IFS='|' read -r seconds status name <<<"$line"
    [[ $status == ok ]] && passed=$((passed + 1))
    printf '  %-6s %5ds  %s\n' "$status" "$seconds" "$name"
  done
  printf '  total  %5ds\n\n' "$SECONDS"
  # The line that says it to programs as well as to people.
  printf 'Steps: %d passed, %d failed\n' "$passed" "$FAILED"
  ((FAILED == 0))
}

# version_at_least HAVE WANT
version_at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# need_toolchains: what bicast expects to find and does not install.
need_toolchains() {
  local rust node
  command -v git >/dev/null || die "git is missing." "Install it: apt-get install git"
  command -v cargo >/dev/null ||
    die "The Rust toolchain is missing (cargo is not on the PATH)." "bicast needs Rust 1.95 or newer: https://rustup.rs"
  rust=$(cargo --version | cut -d' ' -f2)
  version_at_least "$rust" 1.95.0 ||
    die "Rust $rust is too old." "bicast needs 1.95 or newer: rustup update stable"
  command -v node >/dev/null || die "Node is missing." "bicast's pages need Node 20.19 or newer: https://nodejs.org"
  command -v npm >/dev/null || die "npm is missing." "It comes with Node: https://nodejs.org"
  node=$(node --version)
  version_at_least "${node#v}" 20.19.0 || die "Node ${node#v} is too old." "bicast's pages need Node 20.19 or newer."
  note "git, Rust $rust, Node ${node#v}"
}

# need_components: the parts of the Rust toolchain that only the checks need.
need_components() {
  cargo fmt --version >/dev/null 2>&1 || die "rustfmt is missing." "rustup component add rustfmt"
  cargo clippy --version >/dev/null 2>&1 || die "clippy is missing." "rustup component add clippy"
}

# apt_install PACKAGE...: installs Debian packages, with sudo where need be.
apt_install() {
  command -v apt-get >/dev/null ||
    die "These packages are missing and this is not Debian or Ubuntu: $*" "Install them, then run this again."
  local sudo=()
  if [[ $EUID != 0 ]]; then
    command -v sudo >/dev/null || die "These Debian packages are missing: $*" "Install them as root, then run this again."
    sudo=(sudo)
  fi
  say "  installing Debian packages: $*"
  mkdir -p "$ROOT/target"
  local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=500 -q)
  "${apt[@]}" update >/dev/null || note "apt-get update failed; trying with the lists as they are"
  "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >"$ROOT/target/apt.log" 2>&1 || {
    tail -n 20 "$ROOT/target/apt.log" >&2
    die "apt-get could not install: $*" "Its whole output: $ROOT/target/apt.log"
  }
}

# apt_need COMMAND-OR-PATH=PACKAGE...: installs the packages whose command (or file) is not there.
apt_need() {
  local pair missing=()
  has() { if [[ $1 == /* ]]; then [[ -e $1 ]]; else command -v "$1" >/dev/null; fi; }
  for pair in "$@"; do
    has "${pair%=*}" || missing+=("${pair##*=}")
  done
  ((${#missing[@]})) || return 0
  apt_install "${missing[@]}"
  for pair in "$@"; do
    has "${pair%=*}" || die "${pair##*=} was installed but there is no ${pair%=*}."
  done
}

# python_venv_need: python3 is often there without the means to make an environment.
python_venv_need() { python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv; }

# python_need FOLDER REQUIREMENTS: an environment with these packages, made anew where they or Python have changed.
python_need() {
  local folder=$1 requirements=$2 wanted have
  wanted=$(python3 --version; cat "$requirements")
  have=$(cat "$folder/.bicast-stamp" 2>/dev/null || true)
  [[ $wanted == "$have" ]] && return 0
  say "  making $folder with $(tr '\n' ' ' <"$requirements")"
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  printf '%s' "$wanted" >"$folder/.bicast-stamp"
}

# chromium: prints the path of a Chromium or Chrome. TEST_CHROMIUM names another.
find_chromium() {
  local name
  if [[ -n ${TEST_CHROMIUM:-} ]]; then
    printf "%s\n" "$TEST_CHROMIUM"
    return 0
  fi
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" && return 0
  done
  return 1
}

# npm_need FOLDER: installs what the lock file names, unless node_modules is of this very lock file and this Node.
# `npm ci` would refuse a lock file without the optional packages of every other platform (compilers come as one package
# a platform), and such a file cannot be made everywhere; `npm install --no-save` takes the locked versions and leaves
# the file as it is.
npm_need() {
  local folder=$1 stamp have
  stamp=$(node --version; cat "$folder/package-lock.json" "$folder/package.json")
  stamp=$(printf '%s' "$stamp" | sha256sum | cut -d' ' -f1)
  have=$(cat "$folder/node_modules/.bicast-stamp" 2>/dev/null || true)
  [[ $stamp == "$have" ]] && return 0
  say "  npm install in $folder"
  (cd "$folder" && npm install --no-save --no-audit --no-fund --loglevel=error </dev/null)
  printf '%s' "$stamp" >"$folder/node_modules/.bicast-stamp"
}

# port_busy tcp|udp PORT: whether somebody on this machine has it.
port_busy() {
  local hex file
  hex=$(printf '%04X' "$2")
  for file in "/proc/net/$1" "/proc/net/${1}6"; do
    [[ -r $file ]] || continue
    # A TCP socket in state 0A listens; a UDP socket in state 07 is bound.
    awk -v port=":$hex" -v state="$([[ $1 == tcp ]] && echo 0A || echo 07)" \
      'NR > 1 && substr($2, length($2) - 4) == port && $4 == state { found = 1 } END { exit !found }' "$file" && return 0
  done
  return 1
}

# http_get URL: prints the body; fails for anything but a 2xx. Node is always here, curl is not.
http_get() {
  node -e 'fetch(process.argv[1], { signal: AbortSignal.timeout(2000) })
    .then(async (r) => { if (!r.ok) process.exit(1); process.stdout.write(await r.text()); })
    .catch(() => process.exit(1))' "$1"
}
