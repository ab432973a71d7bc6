# Redis of Debian, in the place of the official image where no registry answers: the same port and data directory.
FROM sas/debian:bookworm

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends redis-server redis-tools \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* \
 && mkdir /data && chown redis:redis /data

USER redis
VOLUME /data
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]
