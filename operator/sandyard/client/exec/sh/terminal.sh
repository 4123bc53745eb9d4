# terminal ID FOLDER NAME=VALUE... -- COMMAND...
_sy_f=$2
export SANDYARD_EXEC="$1" TERM="${TERM:-xterm-256color}"
shift 2
cd "$_sy_f" 2>/dev/null || { echo "cwd: ${_sy_f#./}: no such folder, or none to enter" >&2; exit 125; }
while [ "$1" != -- ]; do sandyard_give "$1" 2>/dev/null; shift; done
shift
[ $# -eq 0 ] || sandyard_check "$1"
! sandyard_own "${1-}" || set -- /bin/sh -c '"$@"' sh "$@"
[ $# -gt 0 ] || set -- "$(command -v bash || echo /bin/sh)"
[ -z "$sandyard_rest" ] || eval "set -- $sandyard_rest \"\$@\""
exec "$@"
