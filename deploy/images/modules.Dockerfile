# The reference modules. No ENTRYPOINT: the pipeline file says the whole command, which so also works without a container.
FROM sas/base:bookworm

ENV PYTHONPATH=/opt/sas \
    PYTHONHASHSEED=0
COPY sas_modules /opt/sas/sas_modules

# Byte code is made here, once: the root is read-only when modules run. Readable by any user.
RUN python3 -m compileall -q /opt/sas && chmod -R a+rX /opt/sas

USER 65534:65534
WORKDIR /tmp
CMD ["python3", "-m", "sas_modules"]
