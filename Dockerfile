# Onetake's image; `make image` builds it. TARGET chooses the packages: gpu, or cpu for development
# without CUDA. MODE_TO_RUN chooses at run time: serverless, RunPod's queue, or pod, a port.

# Python alone is enough: torch's wheels bring CUDA, and NVIDIA's runtime mounts the driver.
ARG BASE_IMAGE=python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# Weights to bake: `--build-context volume=FOLDER` puts a folder in this stage's place.
FROM scratch AS volume

# Three folders for three layers, the largest and steadiest first: torch, packages, our code. pip
# compiles their modules, which at run time nobody could write.
FROM ${BASE_IMAGE} AS torch
ARG TARGET=gpu
# Where PyTorch's builds for CPUs are found, which the cpu target needs beside PyPI.
ARG TORCH_INDEX=""
COPY builder/requirements-${TARGET}.txt /build/requirements.txt
RUN PIP_EXTRA_INDEX_URL="${TORCH_INDEX}" python3 -m pip install --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: --target /opt/torch -r /build/requirements.txt && \
    # What compiles and tests C++. torch cannot be imported without its one other program.
    rm -rf /opt/torch/torch/include /opt/torch/torch/share /opt/torch/torch/test && \
    find /opt/torch/torch/bin -type f ! -name torch_shm_manager -delete

# Triton needs a C compiler once, for one file, which is therefore compiled here.
FROM torch AS triton
ARG TARGET=gpu
COPY builder/build_triton_driver.py /build/
# Of whichever version the base has: it stays here.
# hadolint ignore=DL3008
RUN if [ "${TARGET}" = gpu ]; then \
        apt-get update && \
        apt-get install -y --no-install-recommends gcc libc6-dev python3-dev && \
        PYTHONPATH=/opt/torch python3 /build/build_triton_driver.py; \
    fi

FROM ${BASE_IMAGE} AS packages
COPY builder/requirements.txt /build/
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes \
        --only-binary :all: --target /opt/packages -r /build/requirements.txt && \
    # Tests, and what boto3 knows of other services than S3.
    find /opt/packages -type d \( -name test -o -name tests \) -prune -exec rm -r {} + && \
    find /opt/packages/botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 -exec rm -r {} +

FROM ${BASE_IMAGE} AS app
WORKDIR /build
COPY builder/requirements-build.txt ./
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        --target /build/backend -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN PYTHONPATH=/build/backend python3 -m pip install --no-cache-dir --no-deps \
        --no-build-isolation --target /app .
COPY handler.py test_input.json builder/healthcheck.py /app/

FROM packages AS weights
# Names of models to bake; empty: none, they are read from the volume or RunPod's cache.
ARG BAKE=""
COPY --from=app /app /app
COPY builder/preload_weights.py /build/
# hadolint ignore=SC2086 - BAKE is several words
RUN --mount=type=bind,from=volume,target=/volume \
    --mount=type=secret,id=hf_token \
    mkdir /models && if [ -n "${BAKE}" ]; then \
        PYTHONPATH=/app:/opt/packages python3 /build/preload_weights.py ${BAKE} \
            --to /models --from /volume; \
    fi

FROM ${BASE_IMAGE}
# tini: a first process that passes signals on and reaps what ffmpeg and the SDK leave. The base has
# no compiled standard library.
RUN apt-get update && \
    apt-get install -y --no-install-recommends tini=0.19.0-* && \
    rm -rf /var/cache/apt /var/lib/apt/lists && \
    useradd --uid 1000 --user-group --no-create-home --home-dir /tmp onetake && \
    install -d -o onetake -g onetake /outputs && \
    python3 -m compileall -q "$(python3 -c 'import os; print(os.path.dirname(os.__file__))')"
COPY --from=triton /opt/torch /opt/torch
COPY --from=packages /opt/packages /opt/packages
COPY --from=weights /models /models
COPY --from=app /app /app

ARG BAKE=""
# All that is written goes below /tmp, /outputs or /runpod-volume: the rest may be read-only.
ENV PATH=/app/bin:${PATH} \
    PYTHONPATH=/app:/opt/packages:/opt/torch \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=onetake \
    HF_HUB_OFFLINE=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    ONETAKE_HOST=0.0.0.0 \
    ONETAKE_OUTPUT_DIR=/outputs \
    ONETAKE_WEIGHTS_DIR=${BAKE:+/models}
WORKDIR /app
USER 1000:1000
# The folders were filled one by one, without a look at what needs what.
RUN python3 -m pip check
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=420s --retries=3 \
    CMD ["python3", "healthcheck.py"]
ENTRYPOINT ["tini", "--"]
CMD ["python3", "-u", "handler.py"]

ARG REVISION=unknown
LABEL org.opencontainers.image.title="Onetake" \
      org.opencontainers.image.description="RunPod worker that makes one continuous video take of any length" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
