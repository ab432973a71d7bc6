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

say "build"
# The profile that the tests use too: one build serves both. `make build` makes the programs for real hosts.
cargo build --workspace --bins
bin=${CARGO_TARGET_DIR:-$PWD/target}/debug

say "images"
deploy/images/build.sh

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

say "run the seismic pipeline"
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
