# syntax=docker/dockerfile:1
# The image needs one writable place, /data (spool, and the database where it is SQLite); run it with a read-only root file
# system and without capabilities, as docker-compose.yml does.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
# the requirements first: they change seldom, and their layer is the large one
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/lms-sr \
    && /opt/lms-sr/bin/pip install --no-deps --require-hashes --only-binary :all: -r requirements.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY service service
COPY sr_templates sr_templates
RUN /opt/build/bin/hatchling build -t wheel -d /wheels \
    && /opt/lms-sr/bin/pip install --no-deps --no-index /wheels/*.whl \
    && /opt/lms-sr/bin/python -m compileall -q /opt/lms-sr/lib \
    && /opt/lms-sr/bin/pip uninstall --yes pip

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="LMS-SR" \
      org.opencontainers.image.description="DICOM structured reports for leiomyosarcoma" \
      org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 lms-sr \
    && useradd --uid 10001 --gid lms-sr --home-dir /data --no-create-home --shell /usr/sbin/nologin lms-sr \
    && install -d -o lms-sr -g lms-sr -m 0750 /data
COPY --from=build /opt/lms-sr /opt/lms-sr
COPY config/image/lms-sr.toml /etc/lms-sr/lms-sr.toml
ENV PATH=/opt/lms-sr/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 11112 8080
# SIGTERM: no new associations, the object and the attempt in flight are finished within 10 s
STOPSIGNAL SIGTERM
# our own listener answers a C-ECHO
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["lms-sr", "health", "--config", "/etc/lms-sr/lms-sr.toml"]
ENTRYPOINT ["lms-sr"]
CMD ["serve", "--config", "/etc/lms-sr/lms-sr.toml"]
