# The stand-in for the Rust image, with the dependencies of one Cargo.lock: their sources, so that cargo needs no
# network, and what they compile to, so that a build of the product compiles only its own code.
ARG RUST_IMAGE
FROM ${RUST_IMAGE}
COPY config.toml /usr/local/cargo/config.toml
COPY vendor /usr/local/cargo/vendor
WORKDIR /src
COPY workspace .
# Nothing of the empty workspace may remain that cargo could take for the product's own.
RUN cargo build --release --locked -p p2p-chat \
    && cargo clean --release --locked $(cat own-packages) \
    && find . -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
