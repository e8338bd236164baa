# Completion of doit's words in a bootsmith site, for bash:
#
#   . contrib/completion/doit.bash        in ~/.bashrc, or put it into
#   /usr/share/bash-completion/completions/doit
#
# Words come from the site in the current directory, so new templates and hosts are there at once.

_bootsmith_doit() {
	local line word
	[ -f dodo.py ] || return 0
	COMPREPLY=()
	# bash takes a colon for the end of a word; pxerd:NAME is one word.
	line=${COMP_LINE:0:COMP_POINT}
	local -a words
	read -r -a words <<<"$line"
	[[ $line == *' ' ]] && words+=('')
	word=${words[-1]}
	local prefix=
	[[ $word == *:* && $COMP_WORDBREAKS == *:* ]] && prefix=${word%"${word##*:}"}
	while IFS= read -r candidate; do
		[ -z "$candidate" ] || COMPREPLY+=("${candidate#"$prefix"}")
	done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}

# Where none of our words fits, it is a file.
complete -o default -F _bootsmith_doit doit .venv/bin/doit
