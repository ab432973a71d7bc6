# Prometheus of Debian, in the place of the official image where no registry answers: the same port and data directory.
FROM sas/debian:bookworm

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends prometheus \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc/* /usr/share/man/* /etc/prometheus/* \
 && mkdir /prometheus && chown prometheus:prometheus /prometheus

USER prometheus
VOLUME /prometheus
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["prometheus"]
