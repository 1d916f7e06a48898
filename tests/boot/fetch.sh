# shellcheck shell=sh disable=SC2154 # run.sh sets $cache, a folder of ours
# Debian packages of any architecture, fetched by apt, unpacked by dpkg.
#
# apt checks every file against Debian's signed lists, with the mirror, the
# keys and the proxy that this machine has set up. Its lists, its cache and its
# architecture are private to us: nothing is installed, the machine's own apt is
# not touched, and an ordinary user can do it.

# The suite to take packages from; empty: those that this machine uses.
suite=""

# apt_for ARCHITECTURE COMMAND ARGUMENT...
apt_for() (
    state=$cache/apt/$1$suite
    command=$2
    mkdir -p "$state/lists/partial" "$state/archives/partial"
    set -- "$@" \
        -o APT::Architecture="$1" -o APT::Architectures::="$1" \
        -o Dir::State="$state" -o Dir::Cache="$state" -o Debug::NoLocking=true \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    # Of a foreign architecture nothing is installed.
    if [ "$1" != "$(dpkg --print-architecture)" ]; then
        : >"$state/status"
        set -- "$@" -o Dir::State::status="$state/status"
    fi
    if [ -n "$suite" ]; then
        # shellcheck disable=SC2016 # apt expands it
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -v security | head -n 1)
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$state/sources.list"
        set -- "$@" -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    fi
    shift 2
    # Its warnings matter when it fails.
    "$command" -qq "$@" 2>"$state/errors" || {
        cat "$state/errors" >&2
        return 1
    }
)

# fetch FOLDER ARCHITECTURE SUITES PACKAGE...: just these packages, of the first
# suite whose lists apt accepts. For a metapackage of the kernel comes the kernel.
fetch() (
    folder=$1 architecture=$2 suites=$3
    shift 3
    [ ! -e "$folder/complete" ] || return 0
    rm -rf "$folder"
    mkdir -p "$folder"
    for suite in ${suites:-""}; do
        echo "fetching $* for $architecture${suite:+ from $suite}" >&2
        ! apt_for "$architecture" apt-get update || break
    done
    for package; do
        case $package in
        linux-image-*)
            package=$(apt_for "$architecture" apt-cache depends --recurse --important "$package" |
                grep -E '^linux-(image|binary)-[0-9]')
            ;;
        esac
        # shellcheck disable=SC2086 # one or more packages
        (cd "$folder" && apt_for "$architecture" apt-get download $package)
    done
    unpack "$folder" "$folder"
)

# fetch_program FOLDER PACKAGE...: for this machine, with the libraries that it lacks.
fetch_program() (
    folder=$1 architecture=$(dpkg --print-architecture)
    shift
    [ ! -e "$folder/complete" ] || return 0
    echo "fetching $* for this machine" >&2
    rm -rf "$folder"
    mkdir -p "$folder"
    apt_for "$architecture" apt-get update
    apt_for "$architecture" apt-get clean
    apt_for "$architecture" apt-get install --download-only --no-install-recommends -y "$@"
    unpack "$cache/apt/$architecture/archives" "$folder"
)

# unpack FROM TO: all packages in a folder.
unpack() (
    for file in "$1"/*.deb; do
        dpkg -x "$file" "$2"
        rm "$file"
    done
    : >"$2/complete"
)
