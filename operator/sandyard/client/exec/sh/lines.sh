# lines PATH FROM TO: the number of lines of all, and those lines.
[ ! -d "$1" ] || { echo "$1: Is a directory" >&2; exit 1; }
[ ! -p "$1" ] && [ ! -S "$1" ] || { echo "$1: not a plain file" >&2; exit 1; }
n=$(wc -l <"$1") || exit
[ -z "$(tail -c 1 -- "$1")" ] || n=$((n + 1))
echo "$((n))"
sed -n "$2,$3p" -- "$1"
