#!/usr/bin/env bash
# Runs every benchmark, one after the other: first those that suffer most from what others left on the disk, last the one that
# leaves most there. One that fails keeps none of the others from being measured.
set -euo pipefail
cd "$(dirname "$0")/.."
benches=(scale serve files dispatch cluster store pages replay)

CMAKE=$(deploy/setup.sh --cmake)
export CMAKE
cargo build --release --workspace --bins --quiet
cargo bench --workspace --quiet --no-run "${benches[@]/#/--bench=}"
deploy/images/base.sh

failed=()
for bench in "${benches[@]}"; do
  echo "== $bench"
  cargo bench --workspace --quiet --bench "$bench" || failed+=("$bench")
done
if ((${#failed[@]} > 0)); then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
