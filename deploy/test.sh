#!/usr/bin/env bash
# Runs every test: installs what is missing, builds the test images, then the unit tests of modules and of the programs
# and the scenarios on real RabbitMQ, Redis, Docker and HDF5.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh build
deploy/setup.sh docker
deploy/setup.sh cluster
deploy/setup.sh test
CMAKE=$(deploy/setup.sh --cmake)
export CMAKE

# Images and the modules' own tests, while the compiler works.
logs=$(mktemp -d)
trap 'jobs -p | xargs -r kill 2>/dev/null; rm -rf "$logs"' EXIT
deploy/images/build.sh light services >"$logs/images" 2>&1 &
images=$!
(cd deploy/python && /usr/bin/python3 -m unittest -q && cd ../modules && /usr/bin/python3 -m unittest -q) >"$logs/modules" 2>&1 &
modules=$!
cargo build --workspace --all-targets --quiet
wait "$images" || { cat "$logs/images" >&2; exit 1; }
cargo test --workspace --quiet
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
report=$PWD/target/chaos/short.json
(cd tests && /usr/bin/python3 -m chaos "$bin" --seconds 30 --stars 6 --seed 1 --report "$report" >"$logs/chaos") ||
  { cat "$logs/chaos" >&2; exit 1; }
wait "$modules" || { cat "$logs/modules" >&2; exit 1; }
tail -n 3 "$logs/modules"
