#!/bin/sh
# The wire-level cases, with netcat, against a server
# that is already running: on a board, in a container, here.
#
#     sh tests/board.sh HOST [PORT]
#
# Needs a POSIX shell with its usual tools and a netcat: OpenBSD's, the
# traditional one, Nmap's or BusyBox's. NC names it, words and all; by default
# the first that is found. PATIENCE is how many seconds an answer may take.
# Prints a line for each case, then "N passed, N failed"; exits 0 if all passed.

LC_ALL=C
export LC_ALL

if [ -z "${1-}" ]; then
    echo 'Which server? make test-board HOST=… [PORT=…], or sh tests/board.sh HOST [PORT].' >&2
    exit 2
fi
host=$1
port=${2:-43211}
patience=${PATIENCE:-30}
full=4097 # bytes without a newline that the server keeps back, and one

choose_netcat() {
    for candidate in nc.openbsd nc.traditional ncat nc 'busybox nc'; do
        if command -v "${candidate%% *}" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo 'no netcat: install netcat-openbsd, netcat-traditional, ncat or busybox' >&2
    exit 1
}

# The options with which each kind passes on the end of its input and still
# waits for the answer.
half_closing() {
    case $($1 -h 2>&1) in
    *OpenBSD*) echo "$1 -N" ;;
    *'quit after EOF'*) echo "$1 -q $patience" ;;
    *) echo "$1" ;;
    esac
}

nc=${NC:-$(choose_netcat)} || exit 1
nc=$(half_closing "$nc")

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1

# Standard input to the server, its answer to standard output; ended if that
# takes too long.
client() {
    # A background command has no standard input unless it is given one.
    $nc "$host" "$port" <&3 2>/dev/null &
    client=$!
    : >"running.$client"
    # The watch ends by itself: a subshell that is killed while it starts may
    # run the traps of its parent.
    {
        waited=0
        while [ -e "running.$client" ] && [ $waited -lt "$patience" ]; do
            sleep 1
            waited=$((waited + 1))
        done
        [ ! -e "running.$client" ] || kill $client
    } >/dev/null 2>&1 3<&- 4>&- &
    wait $client
    status=$?
    rm "running.$client"
    return $status
} 3<&0

rot13() {
    tr 'A-Za-z' 'N-ZA-Mn-za-m'
}

# What is in $1 comes back rotated when it is sent and the input ends.
echoed() {
    client <"$1" >"$1.heard" && rot13 <"$1" | cmp -s - "$1.heard"
}

# $1 bytes without a newline.
letters() {
    printf "%$1s" '' | tr ' ' x
}

# Polls until file $1 holds at least $2 bytes.
arrived() {
    tries=0
    while [ "$(wc -c <"$1")" -lt "$2" ]; do
        tries=$((tries + 1))
        [ $tries -le "$patience" ] || return 1
        sleep 1
    done
}

one_line() {
    echo 'Hello, World! 0123456789' >sent
    echoed sent && [ "$(cat sent.heard)" = 'Uryyb, Jbeyq! 0123456789' ]
}

several_lines() {
    printf 'one\n\nthree\r\n\n' >sent
    echoed sent
}

every_byte() {
    value=0
    while [ $value -lt 256 ]; do
        # shellcheck disable=SC2059 # The escape is the format.
        printf "\\$(printf %03o $value)"
        value=$((value + 1))
    done >sent
    [ "$(wc -c <sent)" -eq 256 ] && echoed sent
}

no_newline_at_the_end() {
    printf 'first\nlast' >sent
    echoed sent
}

nothing_at_all() {
    : >sent
    echoed sent
}

buffer_boundary() {
    for length in $((full - 1)) $full $((full + 1)) $((2 * full)) $((2 * full + 1)); do
        letters "$length" >sent
        echoed sent || return
        echo >>sent
        echoed sent || return
    done
}

# Says the file $1, then no more until $2 bytes have come back, and a while
# longer; exactly those must have come. At the end of the input comes the rest.
kept_back() {
    : >heard
    mkfifo input || return
    client <input >heard &
    session=$!
    exec 4>input
    cat "$1" >&4
    arrived heard "$2"
    sleep 2
    early=$(wc -c <heard)
    exec 4>&-
    wait $session && rot13 <"$1" | cmp -s - heard && [ "$early" -eq "$2" ]
    result=$?
    rm input
    return $result
}

partial_line_is_kept() {
    printf 'whole\npart' >sent
    kept_back sent 6
}

almost_full_buffer_is_kept() {
    letters $((full - 1)) >sent
    kept_back sent 0
}

full_buffer_leaves() {
    letters $((full + 1)) >sent
    kept_back sent $full
}

megabyte() {
    dd if=/dev/urandom of=sent bs=1024 count=1024 2>/dev/null
    echoed sent
}

many_at_once() {
    running=
    for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        { echo "client $number"; letters $((number * 1000)); } >"sent.$number"
        echoed "sent.$number" &
        running="$running $!"
    done
    for session in $running; do
        wait "$session" || return
    done
}

one_that_leaves() {
    mkfifo input || return
    $nc "$host" "$port" <input >/dev/null 2>&1 &
    leaver=$!
    exec 4>input
    printf 'half a li' >&4
    sleep 1
    kill -9 $leaver 2>/dev/null
    wait $leaver 2>/dev/null
    exec 4>&-
    rm input
    one_line
}

echo "$nc $host $port"
passed=0
failed=0
while read -r case what; do
    if "$case" </dev/null; then
        echo "ok      $what"
        passed=$((passed + 1))
    else
        echo "FAILED  $what"
        failed=$((failed + 1))
    fi
done <<CASES
one_line a line each way
several_lines several lines, empty ones and CR LF among them
every_byte every byte value
no_newline_at_the_end a last line without a newline
nothing_at_all a client that says nothing
buffer_boundary lines around the size of the buffer
partial_line_is_kept a partial line is not echoed before its newline
almost_full_buffer_is_kept 4096 bytes without a newline are kept
full_buffer_leaves 4097 bytes without a newline leave at once
megabyte a megabyte of random bytes
many_at_once twenty clients at once
one_that_leaves a client killed in the middle, then another
CASES
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
