# A site on this machine for the scripts beside this file, which source it: a store, a controller and agents in a folder of
# their own, all gone when the script ends. FOOTPLATE names the program.

place=$(mktemp -d)
started=()
say() { printf '%s\n' "$*"; }
fail() { say "error: $*"; exit 1; }

# Services outlive their agents: they are ended by the keepers' own folders, which name each process.
finish() {
    for id in "${started[@]}"; do kill "$id" 2> /dev/null || true; done
    wait
    for arguments in /proc/[0-9]*/cmdline; do
        if tr '\0' '\n' 2> /dev/null < "$arguments" | grep -q "^$place/"; then kill -9 "$(basename "$(dirname "$arguments")")" 2> /dev/null || true; fi
    done
    rm -rf "$place"
}
trap finish EXIT

# Polls a condition for a minute.
eventually() {
    for _ in $(seq 600); do
        if "$@"; then return; fi
        sleep 0.1
    done
    fail "in vain for a minute: $*"
}

# Finds a port that nobody listens on.
free_port() {
    local port
    while port=$((20000 + RANDOM % 10000)); do
        if ! (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then printf '%s' "$port"; return; fi
    done
}

# Starts a program in the background; its talk goes to a file.
start() {
    local name=$1
    shift
    "$@" > "$place/$name.log" 2>&1 &
    started+=($!)
}

# Starts the store and the controller that `footplate` below asks.
start_controller() {
    store=127.0.0.1:$(free_port)
    api=127.0.0.1:$(free_port)
    start store "$FOOTPLATE" store serve --listen "$store" --folder "$place/store"
    printf 'listen = "%s"\nfolder = "%s/controller"\n[store]\naddress = "http://%s"\n' "$api" "$place" "$store" > "$place/controller.toml"
    start controller "$FOOTPLATE" controller --config "$place/controller.toml"
}

# Starts an agent: HOST [MORE], more being lines of its configuration.
start_agent() {
    mkdir -p "$place/hosts/$1"
    printf 'host = "%s"\nfolder = "%s"\n[store]\naddress = "http://%s"\n%s' "$1" "$place/hosts/$1" "$store" "${2:-}" > "$place/hosts/$1.toml"
    start "$1" "$FOOTPLATE" agent --config "$place/hosts/$1.toml"
}

# Whether so many agents live and a controller acts: NUMBER.
is_up() {
    [ "$(footplate hosts list --json 2> /dev/null | grep -c '"alive": true')" = "$1" ] \
        && footplate status --json 2> /dev/null | grep -q '"controller": {'
}

footplate() { "$FOOTPLATE" --controller "http://$api" --token-file "$place/controller/token" "$@" 2>> "$place/talk.log" || { tail -20 "$place/talk.log" >&2; return 1; }; }

# Pushes one version from $place/packages by what $place/app says, and deploys it: PACKAGE VERSION.
ship() {
    footplate push "$place/packages/$2" --app-folder "$place/app" --version "$2" > /dev/null
    footplate deploy "$1@$2" > /dev/null
}

# Fails unless this is the version that a host's `live` names: HOST LIVE VERSION.
runs() { [ "$(basename "$(readlink "$2")")" = "$3" ] || fail "$1 runs $(readlink "$2")"; }
