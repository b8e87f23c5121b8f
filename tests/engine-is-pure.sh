#!/usr/bin/env bash
# The engine does no IO and has no clock and no randomness of its own: its packages and its sources show it.
set -euo pipefail
cd "$(dirname "$0")/.."

# What it depends on itself: the vocabulary, and the derivation of error types.
readonly ALLOWED='p2p-chat-model thiserror'
# What it must not depend on by way of those either.
readonly PACKAGES='tokio|tonic|prost|rand(_core)?|getrandom|chrono|time|rusqlite|hyper|mio|socket2|rustls'
# HashMap and HashSet: their order differs from run to run.
readonly NAMES='std::(fs|net|os|process|thread|env|io)\b|(Instant|SystemTime)::now|HashMap|HashSet'

status=0

# The names of the packages that p2p-chat-engine depends on, for any target; further arguments are cargo's.
packages() {
    local tree
    tree=$(cargo tree --locked --package p2p-chat-engine --edges normal --target all --prefix none --format '{p}' "$@")
    awk '$1 != "p2p-chat-engine" { print $1 }' <<<"$tree" | LC_ALL=C sort -u
}

direct=$(packages --depth 1 | xargs)
if [[ $direct != "$ALLOWED" ]]; then
    echo "p2p-chat-engine must depend on: $ALLOWED"
    echo "It depends on:                  $direct"
    status=1
fi

packages=$(packages)
if found=$(grep -xE "$PACKAGES" <<<"$packages"); then
    echo "p2p-chat-engine must not depend on: $(xargs <<<"$found")"
    echo "cargo tree -p p2p-chat-engine -e normal -i NAME shows by which way it does."
    status=1
fi

# Comments may speak of what the code must not do.
if found=$(grep -rnE --include='*.rs' "$NAMES" node/engine/src | grep -vE '^[^:]+:[0-9]+: *//'); then
    echo "p2p-chat-engine must not use these; the driver passes in what it needs:"
    echo "$found"
    status=1
fi

((status == 0)) && echo "p2p-chat-engine is pure: $(wc -w <<<"$packages") packages, none that does IO."
exit "$status"
