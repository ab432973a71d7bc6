#!/usr/bin/env bash
# The main job from nothing: simulate a dozen stars, run the seismic pipeline, show truth beside result.
# usage: deploy/demo.sh [--store DIR] [--cluster] [--stars N]; DIR is demo/store, or demo/store-cluster, unless given
set -euo pipefail
cd "$(dirname "$0")/.."

store= cluster= stars=12
while [ $# -gt 0 ]; do
  case "$1" in
    --store) store=$2; shift 2 ;;
    --stars) stars=$2; shift 2 ;;
    --cluster) cluster=1; shift ;;
    *) echo "usage: deploy/demo.sh [--store DIR] [--cluster] [--stars N]" >&2; exit 2 ;;
  esac
done
# Stores of their own, else the second of both would find everything done.
[ -n "$store" ] || store=demo/store${cluster:+-cluster}
say() { printf '\n== %s\n' "$*"; }

say "what is missing"
deploy/setup.sh build
deploy/setup.sh docker
[ -z "$cluster" ] || deploy/setup.sh cluster
CMAKE=$(deploy/setup.sh --cmake)
export CMAKE

say "programs and images, side by side: about 6 minutes the first time on 2 cores, seconds after that"
# The profile that the tests use too: one build serves both. `make build` makes the programs for real hosts.
log=$(mktemp)
deploy/images/build.sh reference 2> >(tee "$log" | sed 's/^/   images: /' >&2) &
images=$!
trap 'kill "$images" 2>/dev/null; rm -f "$log"' EXIT
cargo build --workspace --bins || { echo "the programs could not be built: see above" >&2; exit 1; }
bin=${CARGO_TARGET_DIR:-$PWD/target}/debug
wait "$images" || { echo "the images could not be made:" >&2; cat "$log" >&2; exit 1; }
trap 'rm -f "$log"' EXIT

say "simulate $stars stars"
mkdir -p "$store"
store=$(cd "$store" && pwd)
input=$store.input
rm -rf "$input" && mkdir -p "$input"
in_image() {  # MOUNT... -- COMMAND: runs a command of the reference image on folders of this machine
  local mounts=()
  while [ "$1" != -- ]; do mounts+=(-v "$1"); shift; done
  shift
  docker run --rm --network none --user "$(id -u):$(id -g)" "${mounts[@]}" sas/reference:1 "$@"
}
in_image "$input:/out" -- python3 -m sas_modules.simulate /out --stars "$stars" --seed 1

say "run the seismic pipeline: about a minute"
pipeline=deploy/pipelines/seismic.toml
code=0
if [ -z "$cluster" ]; then
  "$bin/sas" local --pipeline $pipeline --store "$store" "$input"/*.h5 || code=$?
else
  deploy/cluster.sh "$bin" "$store" "$pipeline" "$input" || code=$?
fi
# 8: some tasks failed or inputs were missing; the table below shows which stars.
[ "$code" = 0 ] || [ "$code" = 8 ] || exit "$code"

say "truth beside result"
in_image "$input:/truth:ro" "$store:/store:ro" -- python3 -m sas_modules.compare /truth/truth.json /store || code=1
echo
echo "star files: $store/stars/*/PLATO_*/Q*/PLATO_*.h5"
echo "ask about one: $bin/sas star show --store $store PLATO_…"
exit "$code"
