# The reference modules. No ENTRYPOINT: the pipeline file says the whole command, which so also works without a container.
# build.sh brings the byte code along.
FROM sas/base:bookworm

ENV PYTHONPATH=/opt/sas \
    PYTHONHASHSEED=0
COPY . /opt

USER 65534:65534
WORKDIR /tmp
CMD ["python3", "-m", "sas_modules"]
