# One image for api, worker and migrate; the command says which.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY config config
COPY workflows workflows
COPY activities activities
COPY api api
COPY perdure perdure
RUN uv venv /opt/perdure \
 && uv pip install --compile-bytecode --python /opt/perdure/bin/python -c requirements.lock .

FROM python:3.12-slim
RUN useradd --system --create-home --uid 10001 perdure
COPY --from=build /opt/perdure /opt/perdure
ENV PATH=/opt/perdure/bin:$PATH PYTHONUNBUFFERED=1 PYTHONHASHSEED=0 TZ=UTC \
    PERDURE_HOST=0.0.0.0
USER perdure
EXPOSE 3003
ENTRYPOINT ["perdure"]
CMD ["api"]
