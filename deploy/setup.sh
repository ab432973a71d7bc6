#!/bin/sh
# Installs what a fresh Debian machine lacks; does nothing, quickly, when nothing is missing. Safe to repeat.
#
#   deploy/setup.sh [build] [docker] [cluster] [test] [bench] [all]       default: build docker
#   build    compilers, make, python3, and a cmake that HDF5 accepts (3.26; from PyPI where the system's is older)
#   docker   a Docker engine that answers, and mmdebstrap for machines without a registry
#   cluster  RabbitMQ and Redis, installed but not started as services
#   test     what tests need besides: h5py, numpy, scipy, h5dump, dot, docker-compose, promtool, readers of PROV and OpenLineage, and
#            an image registry, not started
#   bench    what benchmarks compare with: Celery
#   --cmake  only print the path of a fit cmake (nothing is installed); exit 1 if there is none
#
# What cannot be had is named at the end together with how to get it, and the exit code is 1.
set -u
PATH=$PATH:/usr/sbin:/sbin

repo=$(cd "$(dirname "$0")/.." && pwd)
tools=$repo/.tools
cmake_wanted=3.26
docker_log=${TMPDIR:-/tmp}/sas-dockerd.log
problems=

say() { echo "setup: $*"; }
lack() { problems="$problems
  - $*"; }
has() { command -v "$1" >/dev/null 2>&1; }

root=
if [ "$(id -u)" != 0 ]; then
    if has sudo && sudo -n true 2>/dev/null; then root="sudo -n"; else root=none; fi
fi
as_root() { if [ -z "$root" ]; then "$@"; elif [ "$root" = none ]; then return 1; else $root "$@"; fi; }

# ---- packages -------------------------------------------------------------------------------------------------------

updated=
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# Installs the packages that are missing. $1 = no-services: package scripts may not start daemons.
packages() {
    services=$1
    shift
    missing=
    has dpkg-query || { lack "packages $*: this is no Debian; install their like with your package manager"; return 1; }
    for package in "$@"; do installed "$package" || missing="$missing $package"; done
    [ -z "$missing" ] && return 0
    if [ "$root" = none ]; then
        lack "packages$missing: no root here; ask an administrator for: apt-get install$missing"
        return 1
    fi
    say "installing$missing"
    if [ -z "$updated" ]; then
        as_root apt-get update -qq >/dev/null 2>&1 || say "apt-get update failed; trying with the lists that are there"
        updated=1
    fi
    [ "$services" = no-services ] && forbid_services
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/tmp/sas-apt.$$ 2>&1
    result=$?
    [ "$services" = no-services ] && allow_services
    if [ $result != 0 ]; then
        tail -n 5 /tmp/sas-apt.$$ >&2
        lack "packages$missing: apt-get could not install them (above); is a Debian mirror within reach?"
    fi
    rm -f /tmp/sas-apt.$$
    return $result
}

# Debian's switch for "install, do not start": policy-rc.d exits 101. An existing one is left alone.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    policy_ours=
    [ -e $policy ] && return
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod +x $policy && policy_ours=1
}
allow_services() { if [ -n "$policy_ours" ]; then as_root rm -f $policy; fi; }

# ---- build ----------------------------------------------------------------------------------------------------------

cmake_fits() {
    [ -x "$1" ] || return 1
    version=$("$1" --version 2>/dev/null | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
    [ "$(printf '%s\n%s\n' "$cmake_wanted" "$version" | sort -V | head -n 1)" = "$cmake_wanted" ]
}

find_cmake() {
    for candidate in "$(command -v cmake 2>/dev/null)" "$tools/bin/cmake"; do
        if [ -n "$candidate" ] && cmake_fits "$candidate"; then echo "$candidate"; return 0; fi
    done
    return 1
}

build() {
    packages services gcc g++ make pkg-config python3 ca-certificates
    if ! find_cmake >/dev/null; then
        packages services python3-venv python3-pip
        say "cmake $cmake_wanted is needed for HDF5; taking it from PyPI into .tools/"
        if /usr/bin/python3 -m venv "$tools/cmake" >/dev/null 2>&1 \
            && "$tools/cmake/bin/pip" install -q --disable-pip-version-check "cmake>=$cmake_wanted,<4" 2>/tmp/sas-pip.$$; then
            mkdir -p "$tools/bin"
            ln -sf ../cmake/bin/cmake "$tools/bin/cmake"
        else
            tail -n 3 /tmp/sas-pip.$$ 2>/dev/null >&2
        fi
        rm -f /tmp/sas-pip.$$
    fi
    if path=$(find_cmake); then
        case $path in "$tools"/*) say "cmake: export CMAKE=$path" ;; esac
    else
        lack "cmake $cmake_wanted or newer: put one on PATH (pip install cmake, or https://cmake.org/download)"
    fi
    if ! has cargo; then
        lack "Rust: install it from https://rustup.rs (Debian 12's package is too old)"
    fi
}

# ---- docker ---------------------------------------------------------------------------------------------------------

engine_answers() { has docker && timeout 10 docker info >/dev/null 2>&1; }

wait_for_engine() {
    tries=0
    while [ $tries -lt 60 ]; do
        engine_answers && return 0
        if [ -z "$root" ] || [ "$root" != none ] && as_root docker info >/dev/null 2>&1; then return 0; fi
        tries=$((tries + 1))
        sleep 0.5
    done
    return 1
}

start_engine() {
    if [ "$root" = none ]; then return 1; fi
    if [ -d /run/systemd/system ]; then
        as_root systemctl start docker >/dev/null 2>&1
    else
        say "starting dockerd (log: $docker_log)"
        as_root sh -c "nohup dockerd >'$docker_log' 2>&1 </dev/null &"
    fi
    wait_for_engine
}

docker_engine() {
    if ! engine_answers; then
        has dockerd || packages services docker.io
        if start_engine && ! engine_answers; then
            lack "Docker: the engine runs, but this user may not talk to it: sudo usermod -aG docker $(id -un), and log in again"
        elif ! engine_answers; then
            lack "Docker: no engine answers and none could be started (see $docker_log); start one, or set DOCKER_HOST"
        fi
    fi
    # A machine that reaches a registry does not need it; it is small enough not to ask.
    has mmdebstrap || packages services mmdebstrap
}

# ---- cluster and test -----------------------------------------------------------------------------------------------

cluster() {
    packages no-services rabbitmq-server redis-server
}

test_tools() {
    packages services python3-h5py python3-numpy python3-scipy hdf5-tools graphviz
    packages no-services docker-registry prometheus
    packages services chromium chromium-driver
    lineage_readers
    has docker-compose || timeout 10 docker compose version >/dev/null 2>&1 || packages services docker-compose
}

# Who published the forms in which provenance is told: their own readers, for tests.
lineage_readers() {
    python=$tools/lineage/bin/python
    [ -x "$python" ] && "$python" -c 'import jsonschema, prov, openlineage.client' 2>/dev/null && return
    packages services python3-venv python3-pip
    say "readers of PROV and OpenLineage: taking prov, jsonschema and openlineage-python from PyPI into .tools/"
    /usr/bin/python3 -m venv "$tools/lineage" >/dev/null 2>&1 \
        && "$tools/lineage/bin/pip" install -q --disable-pip-version-check "prov>=3.2,<4" jsonschema openlineage-python >/dev/null 2>&1 \
        || lack "readers of PROV and OpenLineage: is PyPI within reach?"
}

bench_peers() { packages services python3-celery python3-redis strace; }

# ---- main -----------------------------------------------------------------------------------------------------------

[ $# = 0 ] && set -- build docker
for part in "$@"; do
    case $part in
        build) build ;;
        docker) docker_engine ;;
        cluster) cluster ;;
        test) test_tools ;;
        bench) bench_peers ;;
        all) build; docker_engine; cluster; test_tools; bench_peers ;;
        --cmake) find_cmake; exit ;;
        -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "setup: unknown part \`$part\`; known: build docker cluster test bench all" >&2; exit 2 ;;
    esac
done
if [ -n "$problems" ]; then
    echo "setup: missing, and not to be had from here:$problems" >&2
    exit 1
fi
say "nothing is missing for: $*"
