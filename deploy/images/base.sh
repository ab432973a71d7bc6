#!/bin/sh
# Makes the images sas/debian:bookworm, Debian 12, and sas/base:bookworm: that with python3, numpy, scipy and h5py.
#
# Debian itself comes from a registry when one answers within a few seconds, else from debootstrap, which needs root and
# a Debian mirror (about 45 s). Nothing is done when the images are there and were made from the same sources.
set -eu
PATH=$PATH:/usr/sbin:/sbin

here=$(cd "$(dirname "$0")" && pwd)
image=${SAS_BASE_IMAGE:-sas/base:bookworm}
debian=sas/debian:bookworm
pull_timeout=${SAS_PULL_TIMEOUT:-20}
mirror=${SAS_DEBIAN_MIRROR:-http://deb.debian.org/debian}

say() { echo "base.sh: $*" >&2; }
die() { say "$*"; exit 1; }

command -v docker >/dev/null 2>&1 || die "docker is missing; run deploy/setup.sh docker"
docker info >/dev/null 2>&1 || die "no Docker engine answers; run deploy/setup.sh docker"

# The label that says from which sources an image was made.
sources=$(sha256sum <"$here/base.Dockerfile" | cut -c1-16)
have=$(docker image inspect --format '{{ index .Config.Labels "sas.sources" }}' "$image" 2>/dev/null || true)
if [ "$have" = "$sources" ] && docker image inspect "$debian" >/dev/null 2>&1; then
    say "$image is up to date"
    exit 0
fi

bootstrap() {
    command -v debootstrap >/dev/null 2>&1 || die "no registry answers and debootstrap is missing; run deploy/setup.sh docker"
    root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || die "no registry answers, and debootstrap needs root: run this script as root once"
        root=sudo
    fi
    tree=$(mktemp -d "${TMPDIR:-/tmp}/sas-debian.XXXXXX")
    trap '$root rm -rf "$tree"' EXIT INT TERM
    say "debootstrap from $mirror"
    $root debootstrap --variant=minbase bookworm "$tree/root" "$mirror" >"$tree/log" 2>&1 || {
        tail -n 20 "$tree/log" >&2
        die "debootstrap failed; is $mirror within reach? SAS_DEBIAN_MIRROR names another"
    }
    $root tar -C "$tree/root" --exclude="./var/cache/apt/archives/*" --exclude="./var/lib/apt/lists/*" -c . \
        | docker import --change 'CMD ["bash"]' - "$debian" >/dev/null
}

if ! docker image inspect "$debian" >/dev/null 2>&1; then
    if timeout "$pull_timeout" docker pull -q debian:bookworm-slim >/dev/null 2>&1; then
        say "Debian pulled from the registry"
        docker tag debian:bookworm-slim "$debian"
    else
        bootstrap
    fi
fi

say "building $image"
context=$(mktemp -d "${TMPDIR:-/tmp}/sas-base.XXXXXX")
DOCKER_BUILDKIT=0 docker build -q --label "sas.sources=$sources" --build-arg "DEBIAN=$debian" \
    -t "$image" -f - "$context" <"$here/base.Dockerfile" >"$context.log" 2>&1 || failed=1
rmdir "$context"
if [ "${failed:-0}" = 1 ]; then
    tail -n 20 "$context.log" >&2
    rm -f "$context.log"
    die "the build of $image failed"
fi
rm -f "$context.log"
say "$image is built"
