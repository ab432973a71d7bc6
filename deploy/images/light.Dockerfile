# Light modules: a program that plays any module of the definitions in /opt/pipelines. For tests and benchmarks. build.sh
# brings the byte code along.
FROM sas/base:bookworm

ENV PYTHONPATH=/opt/sas \
    PYTHONHASHSEED=0
COPY . /opt

USER 65534:65534
WORKDIR /tmp
CMD ["python3", "-m", "light"]
