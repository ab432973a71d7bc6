# Light modules: a program that plays any module of the definitions in /opt/pipelines. For tests and benchmarks.
FROM sas/base:bookworm

ENV PYTHONPATH=/opt/sas \
    PYTHONHASHSEED=0
COPY light /opt/sas/light
COPY pipelines /opt/pipelines

# Byte code is made here, once: the root is read-only when modules run. Readable by any user.
RUN python3 -m compileall -q /opt/sas && chmod -R a+rX /opt/sas /opt/pipelines

USER 65534:65534
WORKDIR /tmp
CMD ["python3", "-m", "light"]
