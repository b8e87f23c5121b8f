#!/usr/bin/env bash
# The engine does no IO and has no clock and no randomness of its own: its packages and its sources show it.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PACKAGES='tokio|tonic|prost|rand|rusqlite|hyper|mio|socket2|rustls|p2p-chat-(proto|store|transport|cli|nds)'
# HashMap and HashSet: their order differs from run to run.
readonly NAMES='std::(fs|net|os|process|thread|env|io)\b|(Instant|SystemTime)::now|HashMap|HashSet'

status=0

tree=$(cargo tree --locked --package p2p-chat-engine --edges normal --prefix none --format '{p}')
packages=$(awk '{ print $1 }' <<<"$tree" | LC_ALL=C sort -u)
grep -qx p2p-chat-model <<<"$packages" || { echo "cargo tree shows no dependencies of p2p-chat-engine: $tree" && exit 1; }
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
