# The three programs of the system. They are built outside: no registry with Rust is needed, but the glibc that they were
# linked with must not be newer than Debian 12's (2.36). That each can be started is checked here.
FROM sas/debian:bookworm

COPY bin /usr/local/bin
RUN sas --version && sas-coordinator --version && sas-worker --version
ENV SAS_LOG_FORMAT=json
CMD ["sas", "--help"]
