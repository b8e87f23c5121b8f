# The image of p2p-chat: one binary, which is a node, its command line, and the discovery service.
#
#   docker build -t p2p-chat .
#   docker run -p 7500:7500 -v p2p-chat:/data p2p-chat serve --advertise HOST:7500 --nds http://NDS:7400
#
# Kept to what the classic builder of Docker 20.10 reads, so that it builds without BuildKit too.

ARG BUILD_IMAGE=rust:1-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p p2p-chat

FROM ${RUNTIME_IMAGE}
# A volume that is mounted on /data for the first time takes over its owner and mode.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin p2p-chat \
    && install -d -o p2p-chat -g p2p-chat -m 0700 /data
COPY --from=build /src/target/release/p2p-chat /usr/local/bin/p2p-chat
USER p2p-chat
WORKDIR /data
ENV P2P_CHAT_DATA_DIR=/data
VOLUME /data
# 7400: discovery service. 7500: node.
EXPOSE 7400 7500
# Of a node; where the container runs `nds`, override the port.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["p2p-chat", "health", "127.0.0.1:7500"]
ENTRYPOINT ["p2p-chat"]
CMD ["serve"]
