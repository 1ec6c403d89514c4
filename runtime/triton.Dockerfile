# NVIDIA's Triton with our self-test before it. Built from the repository's root:
#   docker buildx build --platform linux/amd64,linux/arm64 -f runtime/triton.Dockerfile .
# For a Jetson: --platform linux/arm64 --build-arg BASE=nvcr.io/nvidia/tritonserver:26.07-py3-igpu
# or, without Docker and over a stand-in for NVIDIA's image, by `python3 hack/images build --only triton`.
ARG BUILD_BASE=python:3.12-slim-bookworm
ARG BASE=nvcr.io/nvidia/tritonserver:26.07-py3

# The build stage's Python is the one of the base, so that the bytecode is for it.
FROM --platform=$BUILDPLATFORM ${BUILD_BASE} AS site
ARG TARGETARCH
# A company's index or certificates, where there is one in the way; they reach this stage only.
ARG PIP_INDEX_URL
ARG PIP_CERT
WORKDIR /build
COPY hack/images/edgesmith_images/site_packages.py requirements/triton.txt ./
RUN --mount=type=cache,target=/var/cache/pip \
    python3 site_packages.py install --requirements triton.txt --arch "$TARGETARCH" --program triton \
        --cache /var/cache/pip /opt/edgesmith/site
COPY runtime/edgesmith_runtime /opt/edgesmith/app/edgesmith_runtime
COPY LICENSE /opt/edgesmith/app/LICENSE
RUN python3 site_packages.py compile /opt/edgesmith/app

FROM ${BASE}
COPY --from=site /opt/edgesmith/site /opt/edgesmith/site
COPY --from=site /opt/edgesmith/app /opt/edgesmith/app
# PYTHONPATH is not passed on to tritonserver, whose backends have their own.
ENV PYTHONPATH=/opt/edgesmith/app:/opt/edgesmith/site \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
# What the builder looks for: over this base, an image gets a Triton model repository too.
LABEL dev.edgesmith.server=Triton
USER 65532:65532
WORKDIR /
EXPOSE 8000 8001 8002
ENTRYPOINT ["python3", "-m", "edgesmith_runtime.triton"]
CMD ["serve"]
