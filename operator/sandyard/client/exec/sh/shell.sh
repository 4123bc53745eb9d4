# shell ID FOLDER NAME=VALUE...: a shell that takes its commands from its input; bash where there is one.
f=$2
export SANDYARD_EXEC="$1"
shift 2
for v; do export "$v"; done
cd "$f" 2>/dev/null || { echo "cwd: ${f#./}: no such folder, or none to enter" >&2; exit 125; }
export TERM="${TERM:-xterm-256color}"
b=$(command -v bash) && exec "$b" --noprofile --norc
exec /bin/sh
