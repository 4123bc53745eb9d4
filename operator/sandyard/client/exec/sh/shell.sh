# shell ID FOLDER NAME=VALUE...: a shell that takes its commands from its input; bash where there is one.
f=$2
export SANDYARD_EXEC="$1"
shift 2
for v; do export "$v"; done
cd "$f" || exit 125
export TERM="${TERM:-xterm-256color}"
b=$(command -v bash) && exec "$b" --noprofile --norc
exec /bin/sh
