#!/usr/bin/env bash
# Makes the base images of the Dockerfile from what the machine has: Debian's packages and its Rust toolchain.
# Nothing is pulled. Prints "BUILD_IMAGE RUNTIME_IMAGE" on stdout, progress on stderr.
#
# Each image is kept under a tag that says what went into it, and made only if it is not there.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly LABEL=p2pchat-test=stand-in
readonly RELEASE=bookworm

work=$(mktemp -d "${TMPDIR:-/tmp}/p2pchat-test.XXXXXX")
trap 'rm -rf "$work"' EXIT

say() { echo "$*" >&2; }

exists() { docker image inspect "$1" >/dev/null 2>&1; }

# root_file_system TAR [mmdebstrap's arguments]: a minimal Debian, from the mirror that this machine uses.
root_file_system() {
    local tar=$1 mirror
    shift
    if ! command -v mmdebstrap >/dev/null; then
        say "installing mmdebstrap"
        { apt-get update && apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring; } >&2
    fi
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Label: Debian' 'Component: main' | sed -n 1p)
    mmdebstrap --quiet --variant=minbase \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$@" "$RELEASE" "$tar" ${mirror:+"$mirror"} >&2
}

runtime_image() {
    runtime=p2pchat-test/debian:$RELEASE
    exists "$runtime" && return
    say "making $runtime"
    root_file_system "$work/runtime.tar"
    docker import --change "LABEL $LABEL" "$work/runtime.tar" "$runtime" >&2
}

# Debian with a C compiler, and the compiler, cargo and standard library of the toolchain in use here.
rust_image() {
    local version commit host root
    version=$(rustc -vV | sed -n 's/^release: //p')
    commit=$(rustc -vV | sed -n 's/^commit-hash: //p')
    host=$(rustc -vV | sed -n 's/^host: //p')
    rust=p2pchat-test/rust:$RELEASE-$version-${commit:0:9}
    exists "$rust" && return
    say "making $rust"
    root=$(rustc --print sysroot)
    mkdir -p "$work/toolchain/usr/local/bin" "$work/toolchain/usr/local/lib/rustlib"
    cp "$root/bin/rustc" "$root/bin/cargo" "$work/toolchain/usr/local/bin/"
    cp "$root"/lib/*.so* "$work/toolchain/usr/local/lib/"
    cp -r "$root/lib/rustlib/$host" "$work/toolchain/usr/local/lib/rustlib/"
    tar -C "$work/toolchain" --owner=0 --group=0 -cf "$work/toolchain.tar" .
    root_file_system "$work/rust.tar" --include=gcc,libc6-dev \
        --customize-hook="tar-in $work/toolchain.tar /"
    docker import --change "LABEL $LABEL" --change "ENV CARGO_HOME=/usr/local/cargo" \
        --change "ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
        "$work/rust.tar" "$rust" >&2
}

crates_image() {
    local content context=$work/context
    mkdir "$context"
    cp tests/compose/crates.dockerfile "$context/Dockerfile"
    python3 tests/compose/skeleton.py "$context/workspace"
    cat >"$context/config.toml" <<'CONFIG'
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "/usr/local/cargo/vendor"

[net]
offline = true

# The product is built with this, too: what takes minutes to optimise is not what is tested.
[profile.release]
opt-level = 0
lto = "off"
codegen-units = 16
# As what runs while building has it: so that what both use is compiled once.
panic = "unwind"

[profile.release.package]
blake3.opt-level = 0
curve25519-dalek.opt-level = 0
libsqlite3-sys.opt-level = 0
ring.opt-level = 0
CONFIG
    content=$({ echo "$rust"; cd "$context" && find . -type f | LC_ALL=C sort | xargs sha256sum; } | sha256sum)
    crates=p2pchat-test/crates:${content:0:16}
    exists "$crates" && return
    say "making $crates (compiles all dependencies, takes minutes)"
    cargo vendor --locked --quiet "$context/vendor" >/dev/null
    DOCKER_BUILDKIT=0 docker build --label "$LABEL" --build-arg "RUST_IMAGE=$rust" --tag "$crates" "$context" >&2
}

# What earlier runs left, and nothing has used for a week.
docker image prune --all --force --filter "label=$LABEL" --filter until=168h >/dev/null
runtime_image
rust_image
crates_image
echo "$crates $runtime"
