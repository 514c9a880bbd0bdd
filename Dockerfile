# The image for `train` and `serve`: docker build -t eigenline .
# On a machine without Docker Hub, name a local base: docker build --build-arg BASE_IMAGE=... -t eigenline .
ARG BASE_IMAGE=python:3.12-slim-bookworm

# --- build: everything that is needed to install, and nothing of it stays ----------------------------------------
FROM ${BASE_IMAGE} AS build
WORKDIR /build
# A virtual environment can be copied whole into the final stage, whatever the base's own layout is.
RUN python3 -m venv --without-pip /opt/eigenline
COPY image/requirements.lock image/build.lock ./
# Wheels only: the image needs no compiler, on amd64 and on arm64.
RUN pip --python /opt/eigenline/bin/python install --no-cache-dir --disable-pip-version-check --only-binary=:all: \
        --require-hashes --requirement requirements.lock \
 && pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --require-hashes \
        --requirement build.lock
# Test suites, headers and type stubs never run here.
RUN find /opt/eigenline -type d \( -name tests -o -name include \) -prune -exec rm -rf {} + \
 && find /opt/eigenline \( -name '*.pyi' -o -name '*.a' -o -name '*.pxd' \) -delete
# .dockerignore lets the package and its rooms through, and nothing else.
COPY . .
RUN pip wheel --quiet --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/eigenline/bin/python install --no-cache-dir --disable-pip-version-check --no-deps dist/*.whl
RUN mkdir -p /opt/eigenline/share/eigenline \
 && cp LICENSE image/requirements.lock /opt/eigenline/share/eigenline/ \
 && install -m 0755 image/healthcheck image/train image/serve /opt/eigenline/bin/ \
 && /opt/eigenline/bin/python -I image/bill_of_materials.py > /opt/eigenline/share/eigenline/sbom.cdx.json \
 && /opt/eigenline/bin/train --help >/dev/null \
 && /opt/eigenline/bin/serve --help >/dev/null

# --- the image ---------------------------------------------------------------------------------------------------
FROM ${BASE_IMAGE}
# `make image` passes both: the version stands in pyproject.toml alone.
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="eigenline" \
      org.opencontainers.image.description="An open, local twin of Amazon SageMaker's built-in PCA and Linear Learner" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      com.amazonaws.sagemaker.capabilities.multi-models="true"
COPY --from=build /opt/eigenline /opt/eigenline
# Writable for any --user, for a container that is run without a mount.
RUN mkdir -m 0777 -p /opt/ml
# Slim Python images come without a compiled standard library, and a container cannot keep what it compiles. Importing
# everything here once (the estimators want scikit-learn, which is not in the image) leaves
# it compiled for every start.
RUN /opt/eigenline/bin/python -c "import importlib, pkgutil, eigenline; \
    [importlib.import_module(m.name) for m in pkgutil.walk_packages(eigenline.__path__, 'eigenline.') \
     if not any(part in m.name for part in ('estimator', 'users_cluster', 'dask_chunks', '__main__'))]"
ENV PATH=/opt/eigenline/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["healthcheck"]
# No ENTRYPOINT: SageMaker appends `train` or `serve`. The SageMaker SDK 3 appends nothing when it trains locally.
CMD ["train"]
