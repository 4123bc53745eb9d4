# terminal ID FOLDER NAME=VALUE... -- COMMAND...
_sy_f=$2 _sy_o=/tmp/.sandyard/over/$1
export SANDYARD_EXEC="$1" TERM="${TERM:-xterm-256color}"
shift 2
cd "$_sy_f" 2>/dev/null || { echo "cwd: ${_sy_f#./}: no such folder, or none to enter" >&2; exit 125; }
# Without a command, a shell: by the PATH of the image, and not by one that is given.
_sy_n=1
for _sy_w; do [ "$_sy_w" != -- ] || break; _sy_n=$((_sy_n + 1)); done
[ $# -gt $_sy_n ] || set -- "$@" "$(command -v bash || echo /bin/sh)"
while [ "$1" != -- ]; do sandyard_give "$1" 2>/dev/null; shift; done
shift
sandyard_check "$1"
! sandyard_own "$1" || set -- /bin/sh -c '"$@"' sh "$@"
[ -z "$sandyard_rest" ] || eval "set -- $sandyard_rest \"\$@\""
# Whoever asked for it has given up meanwhile.
[ ! -e "$_sy_o" ] || { rm -f "$_sy_o"; exit 0; }
exec "$@"
