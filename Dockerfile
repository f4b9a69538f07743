# One image for api, worker and migrate; the command says which.
#
# What is installed is held by hashes and carries no dates of the build, so the same source gives the
# same files. For the same base, too, name it by its digest:
#   docker build --build-arg PYTHON_IMAGE=python:3.12.12-slim-bookworm@sha256:... .
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_NO_CACHE=1
RUN pip install --no-cache-dir uv==0.13.9 hatchling==1.33.0
WORKDIR /src
# By themselves: this layer outlives every change that adds no requirement.
COPY requirements.image.lock ./
RUN uv venv /opt/perdure \
 && uv pip install --require-hashes --no-build --compile-bytecode --python /opt/perdure/bin/python \
    -r requirements.image.lock
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY workflows workflows
COPY activities activities
COPY api api
COPY perdure perdure
RUN hatchling build -t wheel -d /dist \
 && uv pip install --no-deps --no-index --find-links /dist --compile-bytecode \
    --python /opt/perdure/bin/python perdure

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Perdure" \
      org.opencontainers.image.description="A durable integration engine on Temporal" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --system --create-home --uid 10001 perdure
COPY --from=build /opt/perdure /opt/perdure
ENV PATH=/opt/perdure/bin:$PATH PYTHONUNBUFFERED=1 PYTHONHASHSEED=0 TZ=UTC \
    PERDURE_HOST=0.0.0.0 PERDURE_READY_FILE=/tmp/perdure-worker
USER 10001
EXPOSE 3003
# Of the api. A worker is asked by `perdure worker --check`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3003/health/live', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["perdure"]
CMD ["api"]
