#!/bin/sh
# Make this machine and .venv ready:  setup.sh build | setup.sh test | setup.sh bench
#
# Plain POSIX shell and what every Debian has, because nothing else is there yet.
#
# Debian packages: dpkg is asked each time which packages of debian-packages.txt are not
# installed. Only if there are any, apt-get runs, as root or through sudo.
#
# .venv: made from /usr/bin/python3 (Debian's guestfs binding is for that one) with the
# packages of requirements/*.lock. A record in it says from what it was made; the record is
# taken away before anything changes and written last, so an interrupted set-up has none
# and is done again from the start.
set -eu

usage() {
    echo "usage: setup.sh build|test|bench" >&2
    exit 2
}

say() {
    echo "setup: $*" >&2
}

# fail PROBLEM NEXT: the same shape as every other error of bootsmith.
fail() {
    printf 'setup: %s\n  next: %s\n' "$1" "$2" >&2
    exit 2
}

# --- Debian packages -----------------------------------------------------------------

# The packages of a group, one a line; `test` includes `build`, `bench` includes both.
wanted_packages() {
    awk -F'|' -v group="$group" '
        /^[ \t]*(#|$)/ { next }
        { gsub(/[ \t]/, "", $1); gsub(/[ \t]/, "", $2) }
        $2 == "build" || $2 == group || (group == "bench" && $2 == "test") { print $1 }
    ' bootsmith/tools/debian-packages.txt
}

missing_packages() {
    # dpkg-query lists what it knows and fails if it does not know one: both are expected.
    # shellcheck disable=SC2046 # one word a package is meant
    { dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' $(wanted_packages) \
        2>/dev/null || :; } |
        awk -v wanted="$(wanted_packages | tr '\n' ' ')" '
            $2 == "installed" { installed[$1] = 1 }
            END {
                count = split(wanted, names, " ")
                for (i = 1; i <= count; i++)
                    if (!(names[i] in installed)) print names[i]
            }'
}

# Run a command as root. Proxies are handed over; sudo would drop them.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive \
            ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
            "$@"
    fi
}

# Another apt or dpkg may be at work (unattended upgrades): wait up to five minutes for it.
apt_get() {
    as_root apt-get --quiet --yes -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# Debian starts a service as soon as its package is there, and at every boot after that. Who
# asked for tests did not ask for a web server: invoke-rc.d(8) asks policy-rc.d first, and what
# is listed as service:NAME is switched off. One that was installed before is left alone.
policy=/usr/sbin/policy-rc.d
marker='made by bootsmith set-up, to go when it is done; unwanted:'

forbid_services() {
    # One that was killed left its own behind, with what it would have switched off.
    # shellcheck disable=SC2086 # one word a package is meant
    unwanted=$(
        {
            sed -n "s/^# $marker//p" "$policy" 2>/dev/null | tr ' ' '\n'
            marked_words service: $missing
        } | sort -u
    )
    allow_services
    [ ! -e "$policy" ] || return 0 # the machine has a policy of its own
    trap allow_services EXIT
    trap 'exit 130' INT TERM HUP
    # shellcheck disable=SC2086 # one line is meant
    printf '#!/bin/sh\n# %s %s\nexit 101\n' "$marker" "$(echo $unwanted)" |
        as_root sh -c "cat >$policy.new && chmod 755 $policy.new && mv $policy.new $policy"
}

allow_services() {
    if grep -qs "$marker" "$policy"; then as_root rm "$policy"; fi
}

switch_off_services() {
    for service in $unwanted; do
        # update-rc.d knows only what has an init script; without systemctl nothing starts units.
        if [ -e "/etc/init.d/$service" ]; then
            as_root update-rc.d "$service" disable </dev/null
        elif command -v systemctl >/dev/null; then
            as_root systemctl --quiet disable "$service" </dev/null
        fi
    done
}

# marked_words MARK PACKAGE...: what the list says with MARK of those packages, one a line.
marked_words() {
    mark=$1
    shift
    awk -F'|' -v mark="$mark" -v wanted=" $* " '
        /^[ \t]*(#|$)/ { next }
        { gsub(/[ \t]/, "", $1) }
        index(wanted, " " $1 " ") {
            count = split($3, used, " ")
            for (i = 1; i <= count; i++)
                if (index(used[i], mark) == 1) print substr(used[i], length(mark) + 1)
        }' bootsmith/tools/debian-packages.txt
}

make_directories() {
    # shellcheck disable=SC2046 # one word a package is meant
    marked_words directory: $(wanted_packages) | while read -r directory; do
        [ -d "$directory" ] || as_root mkdir -p "$directory" </dev/null
    done
}

# An install that was killed leaves a journal that apt-get refuses to go past, and perhaps a
# package that is half unpacked, which only another unpacking can mend.
finish_interrupted_install() {
    if [ -n "$(ls /var/lib/dpkg/updates 2>/dev/null)" ]; then
        as_root dpkg --configure -a </dev/null || : # fails on the half unpacked one
    fi
    torn=$(dpkg-query --show --showformat '${binary:Package} ${db:Status-Eflag}\n' |
        awk '$2 == "reinstreq" { print $1 }')
    if [ -n "$torn" ]; then
        # shellcheck disable=SC2086 # one word a package is meant
        apt_get install --no-install-recommends --reinstall $torn ||
            fail "apt-get could not mend half unpacked packages; its own words are above" \
                "sudo apt-get install --reinstall $(echo "$torn" | tr '\n' ' ')"
    fi
}

install_packages() {
    command -v dpkg-query >/dev/null ||
        fail "this machine has no dpkg: set-up knows Debian 12 and its relatives" \
            "install the programs that bootsmith/tools/debian-packages.txt names, then make .venv as docs/dependencies.md says"
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    command="apt-get install --no-install-recommends $missing"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
        fail "Debian packages are missing, and there is neither root nor sudo to install them" \
            "as root: $command"

    say "installing $(echo "$missing" | wc -w) Debian packages: $missing"
    forbid_services
    # One unreachable source of many must not stop a set-up that does not need it.
    apt_get update || say "apt-get update failed; going on with the package lists that are there"
    finish_interrupted_install
    # shellcheck disable=SC2086 # one word a package is meant
    apt_get install --no-install-recommends \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold $missing ||
        fail "apt-get could not install what is missing; its own words are above" \
            "$([ "$(id -u)" -eq 0 ] || echo 'sudo ')$command"
    switch_off_services
    allow_services
}

# --- .venv ---------------------------------------------------------------------------

# What a layer of .venv depends on, as one digest. A virtual environment knows its own
# place and its interpreter, so a moved checkout or a new Python makes another one.
layer_key() {
    {
        printf '%s\n' "$PWD" "$(readlink -f /usr/bin/python3)"
        cat bootsmith/tools/setup.sh requirements/build.lock
        sed '/^\[tool/,$d' pyproject.toml # lint rules do not concern .venv
        if [ "$1" = test ]; then cat requirements/test.lock; fi
    } | sha256sum | cut -d' ' -f1
}

# Install one lock, exactly. The user's own pip configuration says from where.
# --ignore-installed: a version that Debian has too must still come into .venv, or the next
# system upgrade would change it under us. --no-deps: the lock is complete.
# --only-binary: a fresh machine has no compiler. --no-user: a configured `user = true`
# would install beside .venv.
install_lock() {
    say "installing the Python packages of requirements/$1.lock"
    .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check \
        --progress-bar off --no-user --ignore-installed --no-deps --only-binary :all: \
        --require-hashes --requirement "requirements/$1.lock" ||
        fail "pip could not install what requirements/$1.lock names; its own words are above" \
            "check where your pip looks (.venv/bin/pip config list), then make setup"
}

make_venv() {
    say "making .venv"
    /usr/bin/python3 -m venv --system-site-packages --clear .venv ||
        fail "python3 could not make .venv; its own words are above" \
            "apt-get install --reinstall python3-venv, then make setup"
    install_lock build
    # No build isolation: the locked flit_core is there, so no index is asked.
    .venv/bin/python -m pip install -qq --no-input --disable-pip-version-check \
        --no-user --no-deps --no-build-isolation --no-index --editable . ||
        fail "pip could not install bootsmith itself; its own words are above" \
            "undo local changes of pyproject.toml, then make setup"
    # The command answers for itself where nothing changed, before doit is imported: front.py.
    # Its second line is Python's text and the shell's command: a kernel reads no "#!" line with
    # a blank in the path, or one that is long.
    cat >.venv/bin/doit <<EOF
#!/bin/sh
"exec" "$PWD/.venv/bin/python" "\$0" "\$@"
import sys
from bootsmith.front import main
sys.exit(main())
EOF
}

has_layer() {
    [ -x .venv/bin/python ] && grep -qsx "$1 $2" "$record"
}

prepare_venv() {
    build_key=$(layer_key build)
    test_key=$(layer_key test)
    if has_layer build "$build_key"; then
        [ "$group" = test ] || return 0
        ! has_layer test "$test_key" || return 0
        # An older test layer could leave packages behind: start over.
        if grep -qs '^test ' "$record"; then fresh=yes; else fresh=no; fi
    else
        fresh=yes
        # Who had the test packages keeps having them.
        if grep -qs '^test ' "$record"; then group=test; fi
    fi

    rm -f "$record"
    [ "$fresh" = no ] || make_venv
    [ "$group" = build ] || install_lock test
    {
        echo "build $build_key"
        [ "$group" = build ] || echo "test $test_key"
    } >"$record.partial"
    mv "$record.partial" "$record"
    say "done"
}

# --- main ----------------------------------------------------------------------------

[ $# -eq 1 ] || usage
group=$1
case $group in build | test | bench) ;; *) usage ;; esac
cd "$(dirname "$0")/../.."
record=.venv/bootsmith-setup
# Those of the caller would lead Python and pip elsewhere.
unset PYTHONPATH PYTHONHOME PYTHONSAFEPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV

# One set-up at a time in this checkout; the second finds everything done.
exec 9<Makefile
flock 9

install_packages
make_directories
[ "$group" != bench ] || group=test # of Python they need the same
prepare_venv
