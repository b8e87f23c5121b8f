# shellcheck shell=bash
# Sourced by tests/compose.sh: how it announces, counts and waits, and how it asks containers and nodes.
# Wants set: COMPOSE, project, work (a directory), NETWORK, said (an array).
# shellcheck disable=SC2154

passed=0

step() { printf '\n== [%4d s] %s\n' "$SECONDS" "$*"; }

pass() {
    passed=$((passed + 1))
    echo "ok   $*"
}

die() {
    echo "FAIL $*"
    exit 1
}

# await SECONDS WHAT COMMAND...: repeats the command until it succeeds; past the deadline, WHAT has failed.
await() {
    local what=$2 began=$SECONDS deadline=$((SECONDS + $1))
    shift 2
    until "$@" 2>"$work/error"; do
        if ((SECONDS >= deadline)); then
            cat "$work/error"
            die "$what: not within $((SECONDS - began)) s"
        fi
        sleep 0.3
    done
    pass "$what ($((SECONDS - began)) s)"
}

# check WHAT COMMAND...: the command has to succeed, now.
check() {
    local what=$1
    shift
    "$@" || die "$what"
    pass "$what"
}

equal() { [[ $1 == "$2" ]] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2" && return 1; }; }

# Bounded, because docker-compose 1.29 waits for ever for a service that keeps on crashing.
compose() { timeout --foreground "${limit_s:-150}" "${COMPOSE[@]}" --project-name "$project" "$@"; }

# One line a container of the project: whether running or not, whichever Compose made it.
containers() { docker ps --all --quiet --filter "label=com.docker.compose.project=$project" "$@"; }

inspect() { docker inspect --format "$2" "$(containers --filter "label=com.docker.compose.service=$1")"; }

is_stopped() { [[ $(inspect "$1" '{{.State.Running}}') == false ]]; }

are_healthy() {
    local service health
    for service in "$@"; do
        health=$(inspect "$service" '{{.State.Health.Status}}')
        [[ $health == healthy ]] || { echo "$service is $health" >&2 && return 1; }
    done
}

# The address on the host behind which a service's port is.
published() { compose port "$1" "$2"; }

# p2p_chat SERVICE ARGUMENT...: the program, in the service's container.
p2p_chat() {
    local service=$1
    shift
    limit_s=30 compose exec -T "$service" p2p-chat "$@" </dev/null
}

# The active members as a node sees them: "1 alice leads, 2 bob".
view_of() {
    p2p_chat "$1" members "$NETWORK" --json | jq -rs '
        [.[] | select(.state == "active")] | sort_by(.node_id)
        | map("\(.node_id) \(.name)" + if .leader then " leads" else "" end) | join(", ")'
}

# agree COUNT NODE...: the nodes see the same members, COUNT active ones, led by the lowest id. Sets `view`.
agree() {
    local count=$1 node seen
    shift
    view=
    for node in "$@"; do
        seen=$(view_of "$node") || return 1
        [[ -z $view || $view == "$seen" ]] || { echo "one sees $view, $node sees $seen" >&2 && return 1; }
        view=$seen
    done
    if (($(tr ',' '\n' <<<"$view" | wc -l) != count)) || [[ ! $view =~ ^[0-9]+\ [a-z]+\ leads(,|$) ]] \
        || [[ ${view#* leads} == *leads* ]]; then
        echo "the nodes see $view" >&2
        return 1
    fi
}

# Of `view`: who leads, a member's id, the highest id.
leader() { sed -E 's/^[0-9]+ ([a-z]+) leads.*/\1/' <<<"$view"; }
id_of() { tr ',' '\n' <<<"$view" | awk -v name="$1" '$2 == name { print $1 }'; }
highest_id() { tr ',' '\n' <<<"$view" | awk '{ id = $1 } END { print id }'; }

# The network as the discovery service lists it, asked through a node: "bob:7500 2", the leader's address and the epoch.
listed() {
    p2p_chat "$1" networks --json \
        | jq -r --arg name "$NETWORK" 'select(.name == $name) | "\(.leader_address) \(.epoch)"'
}

is_listed_with() { equal "$2:7500" "$(listed "$1" | cut -d ' ' -f 1)" >&2; }

# say NODE TEXT: sends, and has one other member confirm.
say() {
    check "$1 says: $2" p2p_chat "$1" send "$NETWORK" "$2" --wait one --timeout 20
    said+=("$2")
}

history_of() {
    p2p_chat "$1" history "$NETWORK" --limit 1000 --json | jq -c '[.id, .author_name, .seq, .lamport, .kind, .text]'
}

# have_everything NODE...: the nodes show the same history, with everything that was said in it once, and no more.
have_everything() {
    local node first='' seen expected found
    expected=$(printf '%s\n' "${said[@]}" | LC_ALL=C sort)
    for node in "$@"; do
        seen=$(history_of "$node") || return 1
        found=$(jq -r 'select(.[4] == "text") | .[5]' <<<"$seen" | LC_ALL=C sort)
        equal "$expected" "$found" >&2 || return 1
        [[ -z $first || $first == "$seen" ]] || { diff <(echo "$first") <(echo "$seen") >&2 || return 1; }
        first=$seen
    done
}
