# Chooses packages. Input: the installed database, the indexes (each record led by
# "@:repository/arch"), the world file, in that order. Output, tab separated:
#   I  name  version  sha1-of-control  size  repository    install this, dependencies first
#   E  text                                          something that cannot be had

BEGIN {
	base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	suffix_rank["alpha"] = "41"; suffix_rank["beta"] = "42"; suffix_rank["pre"] = "43"
	suffix_rank["rc"] = "44"; suffix_rank["cvs"] = "71"; suffix_rank["svn"] = "72"
	suffix_rank["git"] = "73"; suffix_rank["hg"] = "74"; suffix_rank["p"] = "75"
}

FILENAME == ARGV[3] {
	if (NF) world[++world_count] = $1
	next
}
/^$/ { end_record(); next }
/^@:/ { repository[count + 1] = substr($0, 3); next }
{
	letter = substr($0, 1, 1)
	if (index("PVCDSpiku", letter)) field[letter] = substr($0, 3)
}

function end_record(    total, list, i, name, number) {
	if (!("P" in field)) { split("", field); return }
	count++
	is_installed[count] = FILENAME == ARGV[1]
	package[count] = field["P"]
	versions[count] = field["V"]
	checksum[count] = field["C"]
	size[count] = field["S"] + 0
	depends[count] = field["D"]
	install_if[count] = field["i"]
	priority[count] = ("k" in field) ? field["k"] + 0 : -1
	add_provider(field["P"], count, field["V"])
	total = split(field["p"], list, " ")
	for (i = 1; i <= total; i++) {
		parse(list[i])
		add_provider(constraint_name, count, constraint_version)
	}
	split("", field)
}

function add_provider(name, which, number) {
	provider_count[name]++
	provider[name, provider_count[name]] = which
	provided[name, provider_count[name]] = number
}

# Split "name>=version" into constraint_name, constraint_operator, constraint_version.
function parse(text,    at) {
	sub(/@.*$/, "", text)
	at = match(text, /[<>=~]+/)
	if (at == 0) {
		constraint_name = text; constraint_operator = constraint_version = ""
		return
	}
	constraint_name = substr(text, 1, at - 1)
	constraint_operator = substr(text, at, RLENGTH)
	constraint_version = substr(text, at + RLENGTH)
}

function padded(digits) {
	sub(/^0+/, "", digits)
	while (length(digits) < 20) digits = "0" digits
	return digits
}

# A string that sorts as the version does: every part has a rank (next number 9, letter 8,
# suffix after release 7, package revision 6, end 5, suffix before release 4).
function sort_key(text,    key, name) {
	key = ""
	while (text != "") {
		if (match(text, /^\.?[0-9]+/)) {
			name = substr(text, 1, RLENGTH)
			sub(/^\./, "", name)
			key = key "9" padded(name)
		} else if (match(text, /^[a-z]/)) {
			key = key "8" substr(text, 1, 1)
		} else if (match(text, /^_[a-z]+/)) {
			name = substr(text, 2, RLENGTH - 1)
			key = key ((name in suffix_rank) ? suffix_rank[name] : "40")
			text = substr(text, RLENGTH + 1)
			match(text, /^[0-9]*/)
			key = key padded(substr(text, 1, RLENGTH))
		} else if (match(text, /^-r[0-9]+/)) {
			key = key "6" padded(substr(text, 3, RLENGTH - 2))
		} else {
			match(text, /^./)
		}
		text = substr(text, RLENGTH + 1)
	}
	return key "5"
}

function is_satisfied(number, operator, wanted,    mine, theirs) {
	if (operator == "") return 1
	if (number == "") return 0
	if (operator ~ /~/) return index(number ".", wanted ".") == 1 || index(number, wanted "-") == 1 || number == wanted
	mine = sort_key(number) ""; theirs = sort_key(wanted) ""
	if (mine == theirs) return operator ~ /=/
	return mine < theirs ? operator ~ /</ : operator ~ />/
}

# The best package for the parsed constraint, 0 if there is none. What is chosen already
# comes first, then the package of that name, then providers: by priority, then version.
# A name provided without a version and without a priority never selects by itself.
function best(name, operator, wanted,    i, which, number, winner, winner_rank, rank) {
	winner = 0
	for (i = 1; i <= provider_count[name]; i++) {
		which = provider[name, i]; number = provided[name, i]
		if (!is_satisfied(number, operator, wanted)) continue
		if (chosen[which]) return which
		if (package[which] in chosen_version) continue
		if (package[which] == name) rank = "3" (is_installed[which] ? "1" : "0") sort_key(number)
		else if (priority[which] >= 0) rank = "2" padded(priority[which]) sort_key(number)
		else if (number != "") rank = "1" sort_key(number)
		else continue
		if (!winner || (rank "") > (winner_rank "")) { winner = which; winner_rank = rank }
	}
	return winner
}

function select_package(text, reason,    which, total, list, i) {
	if (substr(text, 1, 1) == "!") { conflict[substr(text, 2)] = reason; return }
	parse(text)
	which = best(constraint_name, constraint_operator, constraint_version)
	if (!which) { report_missing(text, reason); return }
	if (chosen[which]) return
	chosen[which] = 1
	chosen_version[package[which]] = versions[which]
	total = split(depends[which], list, " ")
	for (i = 1; i <= total; i++) select_package(list[i], package[which] "-" versions[which])
	order[++order_count] = which
}

function report_missing(text, reason) {
	if (text in reported) return
	reported[text] = 1
	print "E\t" constraint_name (provider_count[constraint_name] ? " (no version fits):" : " (no such package):")
	print "E\t  required by: " reason "[" text "]"
}

# Packages that ask to come along once all that they name is there.
function select_companions(    i, again) {
	do {
		again = 0
		for (i = 1; i <= count; i++) {
			if (install_if[i] == "" || chosen[i] || package[i] in chosen_version) continue
			if (all_chosen(install_if[i])) { select_package(package[i] "=" versions[i], "install_if"); again = 1 }
		}
	} while (again)
}

function all_chosen(text,    total, list, i) {
	total = split(text, list, " ")
	for (i = 1; i <= total; i++) {
		parse(list[i])
		if (!chosen[best(constraint_name, constraint_operator, constraint_version)]) return 0
	}
	return 1
}

function report_conflicts(    text, i, which) {
	for (text in conflict) {
		parse(text)
		for (i = 1; i <= provider_count[constraint_name]; i++) {
			which = provider[constraint_name, i]
			if (chosen[which] && is_satisfied(provided[constraint_name, i], constraint_operator, constraint_version)) {
				print "E\t" package[which] "-" versions[which] ":"
				print "E\t  conflicts: " conflict[text] "[!" text "]"
			}
		}
	}
}

# "Q1" and base64 of a SHA-1, as hexadecimal: two characters are three hexadecimal digits.
function digest_hex(text,    hex, i) {
	hex = ""
	for (i = 3; i < length(text); i += 2)
		hex = hex sprintf("%03x", value_of(substr(text, i, 1)) * 64 + value_of(substr(text, i + 1, 1)))
	return substr(hex, 1, 40)
}

function value_of(character,    at) {
	at = index(base64, character)
	return at ? at - 1 : 0
}

END {
	end_record()
	for (i = 1; i <= world_count; i++) select_package(world[i], "world")
	select_companions()
	report_conflicts()
	for (i = 1; i <= order_count; i++) {
		which = order[i]
		if (is_installed[which]) continue
		printf "I\t%s\t%s\t%s\t%d\t%s\n", package[which], versions[which], digest_hex(checksum[which]), size[which], repository[which]
	}
}
