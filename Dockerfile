# The operator's image. Build it from the project's root: docker build -t kafleet-operator .
# Behind a private package index: --secret id=pip.conf,src=… and, for its certificates, --secret id=ca-certificates,src=…
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
WORKDIR /build
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv venv
COPY build-requirements.lock operator/requirements.lock ./
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca-certificates \
    venv/bin/pip install --quiet --require-hashes --requirement build-requirements.lock \
 && venv/bin/pip install --quiet --require-hashes --requirement requirements.lock --no-compile --target dependencies \
 && rm -rf dependencies/bin \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s dependencies -p /opt/dependencies dependencies
COPY operator operator
RUN venv/bin/pip install --quiet --no-index --no-deps --no-build-isolation --no-compile --target package ./operator \
 && python3 -m compileall -q --invalidation-mode unchecked-hash -s package -p /opt/kafleet package

FROM ${BASE_IMAGE}
ENV PYTHONPATH=/opt/kafleet:/opt/dependencies PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
WORKDIR /
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python3", "-m", "kafleet_operator"]
# Two layers, and ours last: a change of our own code moves little.
COPY --from=build /build/dependencies /opt/dependencies
COPY --from=build /build/package /opt/kafleet
