# RabbitMQ of Debian, in the place of the official image where no registry answers: the same ports, data directory and user.
FROM sas/debian:bookworm

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rabbitmq-server \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/lib/rabbitmq/* /usr/share/doc/* /usr/share/man/*

# Reached from other containers only; compose.yaml publishes it on the loopback of the host.
RUN printf '%s\n' 'listeners.tcp.default = 5672' 'management.tcp.port = 15672' 'loopback_users = none' \
      'log.console = true' 'log.file = false' >/etc/rabbitmq/rabbitmq.conf \
 && printf '[rabbitmq_management].\n' >/etc/rabbitmq/enabled_plugins \
 && chown -R rabbitmq:rabbitmq /etc/rabbitmq /var/lib/rabbitmq

USER rabbitmq
ENV HOME=/var/lib/rabbitmq PATH=/usr/lib/rabbitmq/bin:$PATH
VOLUME /var/lib/rabbitmq
EXPOSE 5672 15672
CMD ["rabbitmq-server"]
