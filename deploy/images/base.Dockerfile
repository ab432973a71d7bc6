# Debian 12 with what the reference modules import. Module teams may start from it too.
ARG DEBIAN=debian:bookworm-slim
FROM ${DEBIAN}

# One layer: packages, byte code for every module that is imported at start-up, and no package lists.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3 python3-numpy python3-scipy python3-h5py \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /usr/share/locale/* \
 && python3 -c 'import h5py, numpy, scipy.optimize'

ENV LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HDF5_USE_FILE_LOCKING=FALSE \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1
