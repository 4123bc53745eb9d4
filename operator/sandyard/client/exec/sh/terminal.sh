# terminal ID FOLDER NAME=VALUE... -- COMMAND...
f=$2
export SANDYARD_EXEC="$1" TERM="${TERM:-xterm-256color}"
shift 2
while [ "$1" != -- ]; do export "$1"; shift; done
shift
cd "$f" 2>/dev/null || { echo "cwd: ${f#./}: no such folder, or none to enter" >&2; exit 125; }
[ $# -gt 0 ] || { b=$(command -v bash) && exec "$b"; exec /bin/sh; }
exec "$@"
