# docker compose build --build-arg EXTRAS=calibration,export --build-arg REVISION=$(git rev-parse HEAD)
# A machine with NVIDIA's container toolkit: --build-arg JAX="jax[cuda12]", and `gpus: all` in docker-compose.yml.
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY conf conf
COPY examples examples
COPY marl_pricing marl_pricing
RUN pip wheel --no-cache-dir --no-deps -w /wheels .

FROM python:3.11-slim
# calibration, serve, kafka, postgres, redis, torch, export, or several
ARG EXTRAS=calibration,serve,kafka,postgres,redis
ARG JAX=jax
ARG REVISION=unknown
ENV MARL_PRICING_REVISION=$REVISION MPLCONFIGDIR=/tmp/matplotlib XDG_CACHE_HOME=/tmp/cache
COPY --from=build /wheels /wheels
COPY constraints.txt requirements.lock /wheels/
# What calibration, serve, kafka, postgres and redis need is locked by hash; what other extras or another JAX bring beside is pinned by version.
RUN pip install --no-cache-dir --require-hashes -r /wheels/requirements.lock
RUN pip install --no-cache-dir -c /wheels/constraints.txt "$(ls /wheels/*.whl)[$EXTRAS]" "$JAX"
RUN useradd --create-home --uid 1000 seller && install -d -o seller /work/runs
USER seller
WORKDIR /work
ENTRYPOINT ["marl-pricing"]
CMD ["--help"]
