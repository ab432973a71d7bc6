#!/usr/bin/env bash
# RabbitMQ, Redis and an image registry of this machine's packages, in a directory and on ports of their own, on loopback
# only: for the demo and for tests. Data stay in the directory, so that the same call after a stop goes on with them.
#
#   services.sh rabbitmq DIR PORT [management]  AMQP on PORT; PORT+1 to PORT+3 for itself (the last for management)
#   services.sh redis    DIR PORT
#   services.sh registry DIR PORT               logins in DIR/htpasswd (bcrypt)
#   services.sh stop     DIR                    ends what runs in DIR, and in the directories in it
#   services.sh kill     DIR                    the same with SIGKILL, which leaves data as a crash does
#   services.sh guard    DIR                    at the end of its input, ends what runs in DIR and removes DIR
#
# More lines for rabbitmq.conf or redis.conf are read from DIR/more.conf; definitions (users, virtual hosts) of RabbitMQ
# from DIR/definitions.json. Both must be there before the start.
set -euo pipefail

die() { echo "services.sh: $*" >&2; exit 1; }

# Whether a process is there. One that ended and that nobody waited for (a container without init) is not.
lives() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  [[ ${stat##*) } != Z* ]]
}

# Waits until a command succeeds, for as long as the process of the pid file lives.
wait_for() {  # DIR WHAT COMMAND...
  local dir=$1 what=$2; shift 2
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    lives "$(cat "$dir/pid")" || { tail -n 30 "$dir/log" >&2; die "$what ended while it started, see $dir/log"; }
    sleep 0.1
  done
  die "$what does not answer after 60 s, see $dir/log"
}

# Waits until nothing listens on a port: what did may be about to end. A service of another process would answer for ours.
until_free() {  # PORT
  for _ in $(seq 50); do
    answers "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  die "port $1 is in use by another process"
}

# Starts a command in a session of its own, so that its whole process group can be ended.
launch() {  # DIR COMMAND...
  local dir=$1; shift
  setsid "$@" </dev/null >>"$dir/log" 2>&1 &
  echo $! >"$dir/pid"
  disown
}

rabbitmq() {
  local dir=$1 port=$2 management=${3:-} server
  for server in /usr/lib/rabbitmq/bin/rabbitmq-server rabbitmq-server; do
    if command -v "$server" >/dev/null; then break; fi
  done
  command -v "$server" >/dev/null || die "rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)"
  {
    echo "listeners.tcp.1 = 127.0.0.1:$port"
    echo "management.tcp.ip = 127.0.0.1"
    echo "management.tcp.port = $((port + 3))"
    [ ! -f "$dir/definitions.json" ] || echo "load_definitions = $dir/definitions.json"
    [ ! -f "$dir/more.conf" ] || cat "$dir/more.conf"
  } >"$dir/rabbitmq.conf"
  [ -n "$management" ] || sed -i /^management/d "$dir/rabbitmq.conf"
  echo "[${management:+rabbitmq_management}]." >"$dir/enabled_plugins"
  # An epmd of our own: the machine's would stay behind, and would be everybody's.
  export HOME=$dir ERL_EPMD_PORT=$((port + 2)) ERL_EPMD_ADDRESS=127.0.0.1
  export RABBITMQ_NODENAME=sas-$port@localhost RABBITMQ_DIST_PORT=$((port + 1)) RABBITMQ_ALLOW_INPUT=1
  export RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf RABBITMQ_CONF_ENV_FILE=/dev/null
  export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins RABBITMQ_LOGS=-
  export ERL_CRASH_DUMP=$dir/erl_crash.dump
  export RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir RABBITMQ_GENERATED_CONFIG_DIR=$dir/config
  # A cluster of one waits for nobody, and two cores need few schedulers.
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
  if ! lives "$(cat "$dir/epmd.pid" 2>/dev/null || echo none)"; then
    setsid epmd </dev/null >/dev/null 2>&1 &
    echo $! >"$dir/epmd.pid"
    disown
  fi
  launch "$dir" "$server" -noinput
  wait_for "$dir" RabbitMQ answers_amqp "$port"
}

# A broker that is still starting accepts no connection; one that runs answers the wrong protocol with its own.
answers_amqp() {
  local answer
  exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'AMQP\0\0\0\0' >&9
  answer=$(head -c 4 <&9)
  exec 9>&-
  [ "$answer" = AMQP ]
}

redis() {
  local dir=$1 port=$2
  command -v redis-server >/dev/null || die "redis-server is not installed (Debian: apt-get install redis-server)"
  {
    printf '%s\n' "bind 127.0.0.1" "port $port" "dir $dir" "daemonize no" 'save ""'
    printf '%s\n' "appendonly yes" "appendfsync everysec" "maxmemory-policy noeviction"
    [ ! -f "$dir/more.conf" ] || cat "$dir/more.conf"
  } >"$dir/redis.conf"
  launch "$dir" redis-server "$dir/redis.conf"
  wait_for "$dir" Redis answers_redis "$port"
}

# Any answer but "loading": a server that wants a password answers too.
answers_redis() {
  local answer
  exec 9<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf 'PING\r\n' >&9
  read -r -t 2 answer <&9
  exec 9>&-
  [[ $answer != -LOADING* ]]
}

registry() {
  local dir=$1 port=$2
  command -v docker-registry >/dev/null || die "docker-registry is not installed (Debian: apt-get install docker-registry)"
  {
    printf '%s\n' "version: 0.1" "log: {level: warn}" "http: {addr: '127.0.0.1:$port'}"
    printf '%s\n' "storage: {filesystem: {rootdirectory: '$dir/data'}, delete: {enabled: true}}"
    printf '%s\n' "auth: {htpasswd: {realm: sas, path: '$dir/htpasswd'}}"
  } >"$dir/registry.yml"
  launch "$dir" docker-registry serve "$dir/registry.yml"
  wait_for "$dir" "the registry" answers "$port"
}

answers() { exec 9<>"/dev/tcp/127.0.0.1/$1" && exec 9>&-; }

stop() {  # DIR SIGNAL
  local dir=$1 signal=$2 file pid
  for file in "$dir"/pid "$dir"/epmd.pid "$dir"/*/pid "$dir"/*/epmd.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    kill "-$signal" -- "-$pid" 2>/dev/null || true
    for _ in $(seq 400); do
      lives "$pid" || break
      sleep 0.05
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
    rm -f "$file"
  done
}

case "${1:-}" in
  rabbitmq | redis | registry)
    [ $# -ge 3 ] || die "usage: services.sh $1 DIR PORT"
    mkdir -p "$2"
    [ ! -f "$2/pid" ] || ! lives "$(cat "$2/pid")" || die "$2 has a service that runs: give each a directory of its own"
    until_free "$3"
    "$1" "$(cd "$2" && pwd)" "${@:3}"
    ;;
  stop) stop "${2:?directory}" TERM ;;
  kill) stop "${2:?directory}" KILL ;;
  guard)
    trap '' INT TERM HUP
    cat >/dev/null
    stop "${2:?directory}" KILL
    rm -rf -- "$2"
    ;;
  *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
