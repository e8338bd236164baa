#!/bin/sh
# What OpenRC caches: for each service its name, then what its depend() and the configuration say,
# as "NAME TYPE WORDS". Debian's program starts four processes for a service, this one two at most.
# $1 is the directory of configuration, /etc.

etc=${1:-/etc}
. "${RC_LIBEXECDIR:-/lib/rc}/sh/functions.sh"
. "${RC_LIBEXECDIR:-/lib/rc}/sh/rc-functions.sh"

# tell TYPE WORDS…: services may print what they like, so not to standard output.
tell() {
	local type=$1
	shift
	[ -z "$*" ] || echo "$RC_SVCNAME $type $*" >&3
}

config() { tell config "$@"; }
need() { tell ineed "$@"; }
use() { tell iuse "$@"; }
want() { tell iwant "$@"; }
before() { tell ibefore "$@"; }
after() { tell iafter "$@"; }
provide() { tell iprovide "$@"; }

keyword() {
	local word words=
	for word in $*; do
		case "$word" in
		-containers) word=$(_get_containers) ;;
		!-containers) word=$(_get_containers_remove) ;;
		esac
		words="$words $word"
	done
	tell keyword $words
}

depend() { :; }

# OpenRC has a program of this name: what a service's name is in those of variables.
shell_var() {
	case "$1" in
	*[!A-Za-z0-9_]*) command shell_var "$1" ;;
	*) echo "$1" ;;
	esac
}

is_service() {
	local first second
	[ -f "$1" ] && [ -x "$1" ] || return 1
	read -r first second < "$1"
	case "$first $second" in
	'#!'*/openrc-run* | '#!'*/runscript* | '#! '*/openrc-run* | '#! '*/runscript*) return 0 ;;
	esac
	return 1
}

read_if_there() {
	[ ! -e "$1" ] || . "$1"
}

# In a shell of its own, which forgets what the service defines.
tell_about() (
	local file
	exec 3>&1 1>&2
	# net.eth0 has what is said of net, too.
	[ "${1%%.*}" = "$1" ] || read_if_there "$etc/conf.d/${1%%.*}"
	read_if_there "$etc/conf.d/$1"
	read_if_there "$etc/rc.conf"
	for file in "$etc"/rc.conf.d/*.conf; do
		read_if_there "$file"
	done
	. "$etc/init.d/$1"
	echo "$1" >&3
	_depend
)

cd "$etc/init.d" || exit 1
for service in *; do
	is_service "$service" || continue
	export RC_SERVICE="$service" RC_SVCNAME="$service" SVCNAME="$service"
	tell_about "$service"
done
