# syntax=docker/dockerfile:1
# docker build -t rockpool . && docker run --rm -e ROCKPOOL_ALLOW_OPEN=yes -p 127.0.0.1:6379:6379 -v rockpool:/data rockpool

FROM rust:1-bookworm AS build
# libclang, for the bindings to RocksDB; cmake and a C++ compiler, for RocksDB itself.
RUN apt-get update \
    && apt-get install -y --no-install-recommends clang cmake libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The caches outlive a build: only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo build --release --locked --package rockpool \
    && cp /target/release/rockpool /usr/local/bin/rockpool

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 999 rockpool \
    && useradd --system --uid 999 --gid rockpool --home-dir /data --no-create-home --shell /usr/sbin/nologin rockpool \
    && install --directory --owner rockpool --group rockpool /data
COPY --from=build /usr/local/bin/rockpool /usr/local/bin/rockpool
USER rockpool
WORKDIR /data
VOLUME /data
# Inside a container every client comes from outside, so neither loopback nor protected mode would let one in. Who may
# come is decided by ROCKPOOL_REQUIREPASS, or where ports are published: then ROCKPOOL_ALLOW_OPEN=yes says that this is meant.
ENV ROCKPOOL_BIND="* -::*" \
    ROCKPOOL_PROTECTED_MODE=no \
    ROCKPOOL_ALLOW_OPEN=no \
    ROCKPOOL_DIR=/data
EXPOSE 6379 12345 12346
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD curl --fail --silent --show-error --max-time 2 "http://127.0.0.1:${ROCKPOOL_HTTP_PORT:-12345}/healthz"
STOPSIGNAL SIGTERM
ENTRYPOINT ["rockpool"]
