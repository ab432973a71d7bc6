#!/bin/sh
# Makes images, and their base when that is missing. Nothing is done when an image is there and was made from the same
# sources. Works with Docker 20.10 and without buildx; no registry is needed.
#
#   build.sh [reference] [light] [system] [services] [monitoring] default: reference light
#   reference  sas/reference:1: the reference modules, which the demo runs
#   light      sas/light:1: light modules, which tests and benchmarks run
#   system     sas/system:1: sas, sas-coordinator and sas-worker, as built in SAS_BIN (default: target/release)
#   services   sas/rabbitmq:3 and sas/redis:7 from Debian's packages, where no registry has the official images
#   monitoring sas/prometheus:2 the same; Debian has no Grafana
set -eu

here=$(cd "$(dirname "$0")" && pwd)
deploy=$here/..

say() { echo "build.sh: $*" >&2; }
die() { say "$*"; exit 1; }

[ $# = 0 ] && set -- reference light
bases=
for part in "$@"; do
    case $part in
        reference | light) bases="$bases base" ;;
        system | services | monitoring) bases="$bases debian" ;;
        -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "build.sh: unknown part \`$part\`; known: reference light system services monitoring" >&2; exit 2 ;;
    esac
done

# shellcheck disable=SC2086
"$here/base.sh" $(printf '%s\n' $bases | sort -u)
context=$(mktemp -d "${TMPDIR:-/tmp}/sas-images.XXXXXX")
trap 'rm -rf "$context" "$context.log"' EXIT INT TERM
hint=
contract=

# build IMAGE DOCKERFILE: from what is in the context, and nothing else. Fixed times and modes: equal sources, equal layers.
# Byte code is made before, by the Python of the base: modules run on a read-only root, and each layer costs seconds.
build() {
    from=$(sed -n 's/^FROM //p' "$here/$2")
    base=$(docker image inspect --format '{{ .Id }}' "$from")
    sources=$( { echo "$base$contract"; cat "$here/$2"; cd "$context" && find . -type f | LC_ALL=C sort | xargs -r cat; } | sha256sum | cut -c1-16)
    have=$(docker image inspect --format '{{ index .Config.Labels "sas.sources" }}' "$1" 2>/dev/null || true)
    if [ "$have" = "$sources" ]; then
        say "$1 is up to date"
        return
    fi
    say "building $1"
    if [ -d "$context/sas" ]; then
        docker run --rm --network none --user "$(id -u):$(id -g)" -v "$context/sas:/opt/sas" "$from" \
            python3 -m compileall -q --invalidation-mode unchecked-hash /opt/sas || die "$1 has code that does not compile"
    fi
    chmod -R u=rwX,go=rX "$context"
    find "$context" -exec touch -d @0 {} +
    if ! DOCKER_BUILDKIT=0 docker build --label "sas.sources=$sources" ${contract:+--label "sas.contract=$contract"} -t "$1" -f - "$context" <"$here/$2" >"$context.log" 2>&1; then
        tail -n 20 "$context.log" >&2
        die "the build of $1 failed${hint:+; $hint}"
    fi
    say "$1 is built"
}

# take FILES... FOLDER: what the next image is made of, and where it lies in it below /opt.
take() {
    for folder in "$@"; do :; done
    mkdir -p "$context/$folder"
    while [ $# != 1 ]; do cp "$1" "$context/$folder/" && shift; done
}

empty() { rm -rf "$context"/*; }

reference() {
    take "$deploy"/modules/sas_modules/*.py sas/sas_modules
    # What `sas module diff` reads of it: the modules as their pipeline file has them.
    contract=$(sed -n '/^\[modules\./,$p' "$deploy/pipelines/seismic.toml")
    build "${SAS_REFERENCE_IMAGE:-sas/reference:1}" reference.Dockerfile
    contract=
}

light() {
    take "$deploy"/modules/light/*.py sas/light
    take "$deploy"/pipelines/*.toml pipelines
    build "${SAS_LIGHT_IMAGE:-sas/light:1}" light.Dockerfile
}

system() {
    bin=${SAS_BIN:-${CARGO_TARGET_DIR:-$deploy/../target}/release}
    image=${SAS_SYSTEM_IMAGE:-sas/system:1}
    mkdir "$context/bin"
    for program in sas sas-coordinator sas-worker; do
        [ -x "$bin/$program" ] || die "$bin/$program is missing: run \`make build\` first, or name the directory in SAS_BIN"
        # Without the tables for debuggers: a tenth of the size.
        strip --strip-debug -o "$context/bin/$program" "$bin/$program" 2>/dev/null || cp "$bin/$program" "$context/bin/"
        chmod 755 "$context/bin/$program"
    done
    old=$(docker image inspect --format '{{ .Id }}' "$image" 2>/dev/null || true)
    hint="if it says GLIBC, the programs were built on a newer system than the Debian 12 of the image: build them on one"
    build "$image" system.Dockerfile
    hint=
    # What it replaced has no name any more; containers that still use it keep it.
    [ -z "$old" ] || [ "$old" = "$(docker image inspect --format '{{ .Id }}' "$image")" ] || docker rmi "$old" >/dev/null 2>&1 || true
}

services() {
    build "${SAS_RABBITMQ_IMAGE:-sas/rabbitmq:3}" rabbitmq.Dockerfile
    build "${SAS_REDIS_IMAGE:-sas/redis:7}" redis.Dockerfile
}

monitoring() {
    build "${SAS_PROMETHEUS_IMAGE:-sas/prometheus:2}" prometheus.Dockerfile
}

for part in "$@"; do
    empty
    $part
done
