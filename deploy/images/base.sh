#!/usr/bin/env bash
# Makes images of Debian 12. Nothing is done when an image is there and was made by this script as it is now.
#
#   base.sh [base] [debian]                                       default: base
#   base     sas/base:bookworm, with what the reference modules import; module teams may start from it too
#   debian   sas/debian:bookworm, without anything, for the images of services and of the system
#
# Debian comes from a registry when one answers within a few seconds, else from mmdebstrap, which needs root and a Debian
# mirror. Either way packages are installed in one pass and make one layer: on slow storage drivers layers cost the most.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

pull_timeout=${SAS_PULL_TIMEOUT:-20}
mirror=${SAS_DEBIAN_MIRROR:-http://deb.debian.org/debian}
settings="LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HDF5_USE_FILE_LOCKING=FALSE OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1"
# Nobody reads these in a container.
ballast=(/usr/share/doc /usr/share/man /usr/share/info /usr/share/locale)
# Debian's scipy asks for a compiler of Python, with g++ and Boost, which it does not use: more than all the rest together. A
# line in dpkg's list stands for it; who wants the real one installs python3-pythran.
placeholder='Package: no-pythran\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nMaintainer: sas\nProvides: python3-pythran\nDescription: stands for what scipy does not use\n\n'

say() { echo "base.sh: $*" >&2; }
die() { say "$*"; exit 1; }

command -v docker >/dev/null 2>&1 || die "docker is missing; run deploy/setup.sh docker"
docker info >/dev/null 2>&1 || die "no Docker engine answers; run deploy/setup.sh docker"

# Says from which sources an image was made.
sources=$(sha256sum <"$0" | cut -c1-16)
label=sas.sources=$sources
log=$(mktemp "${TMPDIR:-/tmp}/sas-base.XXXXXX")
trap 'rm -f "$log"' EXIT

# The next two make an image with PACKAGES and print its id.
from_registry() {  # PACKAGE...
  {
    echo "FROM debian:bookworm-slim"
    [ $# = 0 ] || echo "RUN printf '$placeholder' >>/var/lib/dpkg/status && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $*" \
      "&& apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/* ${ballast[*]/%//*}"
    echo "ENV $settings"
  } | DOCKER_BUILDKIT=0 docker build -q --label "$label" - 2>"$log"
}

from_mirror() {  # PACKAGE...
  local folder root=() options=(--mode=root --variant=minbase --dpkgopt=force-unsafe-io)
  command -v mmdebstrap >/dev/null 2>&1 || die "no registry answers and mmdebstrap is missing; run deploy/setup.sh docker"
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || die "no registry answers, and mmdebstrap needs root: run this script as root once"
    root=(sudo)
  fi
  # Options of dpkg stay in the image, for what is installed on top of it.
  for folder in "${ballast[@]}"; do options+=("--dpkgopt=path-exclude=$folder/*"); done
  [ $# = 0 ] || options+=("--include=$(IFS=, && echo "$*")" "--essential-hook=printf '$placeholder' >>\"\$1/var/lib/dpkg/status\"")
  "${root[@]}" mmdebstrap "${options[@]}" bookworm - "$mirror" 2>"$log" \
    | docker import --change "LABEL $label" --change "ENV $settings" --change 'CMD ["bash"]' -
}

registry=
registry_answers() {
  if [ -z "$registry" ]; then
    timeout "$pull_timeout" docker pull -q debian:bookworm-slim >/dev/null 2>&1 && registry=yes || registry=no
  fi
  [ $registry = yes ]
}

# Makes an image, unless it is there. It gets its name when CHECK succeeds in it.
make() {  # IMAGE CHECK PACKAGE...
  local image=$1 check=$2 way=from_mirror from="packages of $mirror" id; shift 2
  if [ "$(docker image inspect --format '{{ index .Config.Labels "sas.sources" }}' "$image" 2>/dev/null)" = "$sources" ]; then
    say "$image is up to date"
    return
  fi
  if registry_answers; then way=from_registry from="Debian of the registry"; fi
  say "making $image from $from (about a minute)"
  if ! { id=$($way "$@") && docker run --rm --network none "$id" sh -c "$check" >>"$log" 2>&1; }; then
    tail -n 20 "$log" >&2
    die "$image could not be made; is a mirror of Debian within reach? SAS_DEBIAN_MIRROR names another than $mirror"
  fi
  docker tag "$id" "$image"
  say "$image is made"
}

[ $# != 0 ] || set -- base
for part in "$@"; do
  case $part in
    base)
      make "${SAS_BASE_IMAGE:-sas/base:bookworm}" "python3 -c 'import h5py, numpy, scipy.optimize'" \
        python3 python3-numpy python3-scipy python3-h5py ;;
    debian) make sas/debian:bookworm true ;;
    *) echo "base.sh: unknown part \`$part\`; known: base debian" >&2; exit 2 ;;
  esac
done
