#!/usr/bin/env bash
# A pipeline over star files on a whole cluster on this machine: RabbitMQ, Redis, a coordinator and two workers as processes
# of their own. Everything is stopped at the end; queues, state and logs stay in STORE.cluster until the next call.
# usage: deploy/cluster.sh BIN STORE PIPELINE INPUT_DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$1 store=$2 pipeline=$(realpath "$3") input=$4
cluster=$store.cluster
amqp=${SAS_DEMO_AMQP_PORT:-25672} redis=${SAS_DEMO_REDIS_PORT:-26379}
pids=()

stop() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  "$here/services.sh" stop "$cluster" >/dev/null 2>&1 || true
}
trap stop EXIT

"$here/services.sh" stop "$cluster" >/dev/null 2>&1 || true
rm -rf "$cluster" && mkdir -p "$cluster"
echo "starting RabbitMQ and Redis"
"$here/services.sh" rabbitmq "$cluster/rabbitmq" "$amqp" management
"$here/services.sh" redis "$cluster/redis" "$redis"

cat >"$cluster/sas.toml" <<EOF
[store]
root = "$store"

[queue]
url = "amqp://guest:guest@127.0.0.1:$amqp/%2f"
management = "http://guest:guest@127.0.0.1:$((amqp + 3))"

[state]
url = "redis://127.0.0.1:$redis/0"

[coordinator]
pipelines = ["$pipeline"]

[http]
listen = "127.0.0.1:$((amqp + 5))"

[slots]
default = 1
heavy = 1
EOF
export SAS_CONFIG=$cluster/sas.toml

# The first call makes the store. The event waits in its queue until a coordinator comes.
runs() { { ls "$store/runs" 2>/dev/null || true; } | wc -l; }
before=$(runs)
"$bin/sas" ingest --init --publish --pipeline "$pipeline" "$input"/*.h5

"$bin/sas-coordinator" >"$cluster/coordinator.log" 2>&1 & pids+=($!)
for n in 1 2; do
  "$bin/sas-worker" >"$cluster/worker-$n.log" 2>&1 & pids+=($!)
done
echo "a coordinator and two workers run; their logs are in $cluster"

for _ in $(seq 100); do
  "$bin/sas" queue list >/dev/null 2>&1 && break
  sleep 0.1
done
for pid in "${pids[@]}"; do
  kill -0 "$pid" 2>/dev/null || { tail -n 20 "$cluster"/*.log >&2; echo "a process of the cluster ended early" >&2; exit 1; }
done

# Files that the store has already make no event: then a run over the same stars is asked for.
for _ in $(seq 100); do
  [ "$(runs)" = "$before" ] || break
  sleep 0.1
done
if [ "$(runs)" = "$before" ]; then
  echo "the store has these files already: a new run over the same stars, in which nothing is computed twice"
  stars=("$store"/stars/*/PLATO_*)
  "$bin/sas" run start --pipeline "$pipeline" --stars "${stars[@]##*/}"
fi
code=0
"$bin/sas" run watch --timeout 30m || code=$?
"$bin/sas" queue list
exit "$code"
