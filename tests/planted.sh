#!/usr/bin/env bash
# Planted bugs: shows that the simulator finds them. Each patch in tests/planted breaks one rule of the protocol in
# the engine or in the registry; the sweep has to fail with it.
#
#   tests/planted.sh            all of them, and the tree as it is first
#   tests/planted.sh NAME...    some, by name, number or file
#   tests/planted.sh --check    only whether every patch applies to this tree: no build, done at once
#
# In the environment:
#   SEEDS         how many seeds the sweep plays: 300
#   FURTHER       how many times as many it plays where these find nothing: 10
#   PLANTED_DIR   where it is built; default: target/planted, kept for the next time
# A patch begins with a line "# What the bug is. | the invariants that should find it"; with "scenario" for invariants
# the sweep can't meet what shows the bug, and a named scenario has to fail instead. For each bug a line is printed:
# in how many of the seeds it was found, the smallest of them, what they violate, and how many of the simulator's named
# scenarios and of the engine's own tests fail too. Exits with 1 if the sweep misses a bug, or a patch does not apply.
#
# What is built is a copy of the tracked files, as they are on disk. The node is left out of it, and of the discovery
# service all but the registry: so a bug costs seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ROOT=$PWD seeds=${SEEDS:-300} further=${FURTHER:-10}
export KEEP_GOING=1
# Of a property that fails it is enough to know that it does.
export PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
# Neither the tests nor the sweep work that long, in seconds, or take that much memory, unless a bug makes them run
# for ever.
readonly TEST_SECONDS=60 SWEEP_SECONDS=900 MOST_KIB=$((6 * 1024 * 1024))

die() {
    echo "tests/planted.sh: $*" >&2
    exit 1
}

# The patches that the arguments name; all of them if there are none.
chosen() {
    local wanted found
    if (($# == 0)); then
        printf '%s\n' tests/planted/*.patch
        return
    fi
    for wanted in "$@"; do
        wanted=$(basename "$wanted" .patch)
        found=$(compgen -G "tests/planted/$wanted.patch" || compgen -G "tests/planted/[0-9][0-9]-$wanted.patch" ||
            compgen -G "tests/planted/$wanted-*.patch") || die "there is no planted bug called $wanted"
        echo "$found"
    done
}

# check PATCH...: whether they apply to the tree as it is, and say what they are.
check() {
    local patch wrong=0
    for patch in "$@"; do
        if ! sed -n 1p "$patch" | grep -qE '^# .+\. \| [a-z_]+(, [a-z_]+)*$'; then
            echo "$patch does not begin with \"# what the bug is. | invariant\""
            wrong=$((wrong + 1))
        elif ! git apply --check "$patch"; then
            echo "$patch does not apply: the code has changed there. Write it anew, or take it out if the bug can't be made any more."
            wrong=$((wrong + 1))
        fi
    done
    echo "planted bugs: $# patches, $wrong of them wrong"
    ((wrong == 0))
}

# Brings the copy up to date, touching only what differs: cargo goes by the time of a file.
copy_tree() {
    local file
    while IFS= read -r -d '' file; do
        if ! cmp -s "$file" "$tree/$file"; then
            mkdir -p "$tree/$(dirname "$file")"
            cp "$file" "$tree/$file"
        fi
    done < <(git ls-files -z)
}

# A package of the simulator and the engine's tests alone, beside the copy.
write_package() {
    mkdir -p "$work/registry/src"
    ln -sfn ../../tree/nds/src/registry.rs "$work/registry/src/registry.rs"
    ln -sfn ../../tree/nds/src/registry "$work/registry/src/registry"
    echo "pub mod registry;" >"$work/registry/src/lib.rs"
    : >"$work/lib.rs"
    cat >"$work/registry/Cargo.toml" <<'END'
[package]
name = "p2p-chat-nds"
edition = "2024"
[dependencies]
p2p-chat-model = { path = "../tree/node/model" }
thiserror = "2"
END
    cat >"$work/Cargo.toml" <<'END'
[package]
name = "planted"
edition = "2024"
[lib]
path = "lib.rs"
[[test]]
name = "sim"
path = "tree/tests/sim/main.rs"
[[test]]
name = "engine"
path = "tree/node/engine/tests/engine/main.rs"
[workspace]
members = ["registry"]
exclude = ["tree"]
[dependencies]
p2p-chat-engine = { path = "tree/node/engine" }
p2p-chat-model = { path = "tree/node/model" }
p2p-chat-nds = { path = "registry" }
[dev-dependencies]
proptest = "1"
rustix = { version = "1", features = ["process", "time"] }
[profile.dev]
opt-level = 1
debug = false
[profile.dev.package."*"]
opt-level = 3
[profile.dev.package.p2p-chat-engine]
opt-level = 1
END
    cp "$tree/Cargo.lock" "$work/Cargo.lock"
}

build() { cargo test --quiet --manifest-path "$work/Cargo.toml" --test sim --test engine --no-run >"$work/build.log" 2>&1; }

# run SECONDS LOG TEST ARGUMENT...: runs some of the tests; what they print goes to the log.
run() {
    local seconds=$1 log=$2 test=$3
    shift 3
    (
        ulimit -v "$MOST_KIB" -t "$seconds"
        cargo test --quiet --manifest-path "$work/Cargo.toml" --test "$test" -- "$@"
    ) </dev/null >"$log" 2>&1
}

# The seeds that fail, each once, and what they violate: "17 no_loss".
failures() { grep -aoE 'seed [0-9]+ violates [a-z_]+' "$work/sweep.log" | awk '{ print $2, $4 }' | sort -nu; }

# sweep FIRST END: plays these seeds. Sets `found` to those that fail, the ones that fail anyway left out, and
# `ended` to how else it went wrong, if it did.
sweep() {
    found='' ended=''
    if SEEDS=$1..$2 run "$SWEEP_SECONDS" "$work/sweep.log" sim --exact sweep::sweep --nocapture; then return; fi
    found=$(failures | grep -vxFf "$work/failing") || true
    if [[ -n $found ]]; then return; fi
    ended=$(sed -nE 's/^a sweep of [0-9]+ seeds (never saw: .*)/\1/p; s/.*(signal: [0-9]+, [A-Z]+).*/ends by \1/p' "$work/sweep.log")
}

# How a run of tests ended: so many of them failed, or they went on for ever.
outcome() {
    if grep -q 'signal: ' "$1"; then echo "never end"; else echo "$(grep -acE '^(test )?[a-z_:]+ (\.\.\.|---) FAILED$' "$1") fail"; fi
}

# judge NAME: plays the sweep and gives the line about the bug. Fails if the sweep does not find it.
judge() {
    local played=$seeds expected what also
    expected=$(sed -n '1s/.*| //p' "$ROOT/tests/planted/$1.patch")
    if [[ $expected == scenario ]]; then
        run "$TEST_SECONDS" "$work/scenarios.log" sim --skip sweep:: || true
        printf '%-40s left to the scenarios: %s\n' "$1" "$(outcome "$work/scenarios.log")"
        [[ $(outcome "$work/scenarios.log") != '0 fail' ]]
        return
    fi
    sweep 1 $((seeds + 1))
    if [[ -z $found$ended ]] && ((most_seeds > seeds)); then
        played=$most_seeds
        sweep $((seeds + 1)) $((most_seeds + 1))
    fi
    run "$TEST_SECONDS" "$work/scenarios.log" sim --skip sweep:: || true
    run "$TEST_SECONDS" "$work/engine.log" engine || true
    also="scenarios: $(outcome "$work/scenarios.log"); engine's tests: $(outcome "$work/engine.log")"
    what=${ended:-NOT FOUND by the sweep}
    if [[ -n $found ]]; then
        what=$(awk '{ print $2 }' <<<"$found" | sort | uniq -c | sort -rn | awk '{ print $2, $1 }' | paste -sd, | sed 's/,/, /g')
        if ! grep -qwE "${expected//, /|}" <<<"$what"; then what+=" (expected: $expected)"; fi
        what="seed ${found%% *}; $what"
    fi
    printf '%-40s %4d of %4d  %s; %s\n' "$1" "$(grep -c . <<<"$found")" "$played" "$what" "$also"
    [[ -n $found$ended ]]
}

# plant PATCH: puts the bug in, judges it, takes it out again.
plant() {
    local patch=$ROOT/$1 name verdict=0
    name=$(basename "$1" .patch)
    # The copy may lie within a repository, but is none of its directories.
    local -r apply=(env GIT_CEILING_DIRECTORIES="$work" git -C "$tree" apply)
    if ! "${apply[@]}" "$patch"; then
        echo "$1 does not apply"
        return 1
    fi
    if build; then
        judge "$name" || verdict=1
    else
        echo "$name does not compile:"
        grep -aE -A5 '^error' "$work/build.log" | head -n 20
        verdict=1
    fi
    "${apply[@]}" --reverse "$patch" || die "$1 can't be taken out of $tree again"
    return "$verdict"
}

is_check=
if [[ ${1:-} == --check ]]; then
    is_check=yes
    shift
fi
list=$(chosen "$@")
mapfile -t patches <<<"$list"
check "${patches[@]}"
if [[ -n $is_check ]]; then exit 0; fi

mkdir -p "${PLANTED_DIR:-target/planted}"
work=$(cd "${PLANTED_DIR:-target/planted}" && pwd)
[[ $seeds =~ ^[1-9][0-9]*$ && $further =~ ^[0-9]+$ ]] || die "SEEDS and FURTHER are numbers, not $seeds and $further"
readonly work tree=$work/tree most_seeds=$((seeds * (1 + further)))
found='' ended=''
export CARGO_TARGET_DIR=$work/target CARGO_INCREMENTAL=1 CARGO_TERM_COLOR=never

copy_tree
write_package
build || die "the simulator does not build: see $work/build.log"
# Seeds that fail without any bug show nothing.
: >"$work/failing"
sweep 1 $((most_seeds + 1))
if [[ -n $ended ]]; then die "the sweep ends badly without any planted bug ($ended): see $work/sweep.log"; fi
echo "$found" >"$work/failing"
echo "Without a bug: $(grep -aE '^[0-9]+ seeds' "$work/sweep.log"); $(grep -c . <<<"$found") fail"

missed=()
for patch in "${patches[@]}"; do
    plant "$patch" || missed+=("$(basename "$patch" .patch)")
done
echo "planted bugs: $((${#patches[@]} - ${#missed[@]})) found, ${#missed[@]} missed${missed:+: ${missed[*]}}, in ${SECONDS} s"
((${#missed[@]} == 0))
