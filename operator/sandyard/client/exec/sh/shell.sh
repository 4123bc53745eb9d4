# shell ID FOLDER NAME=VALUE...: a shell that takes its commands from its input; bash where there is one.
_sy_f=$2
export SANDYARD_EXEC="$1"
shift 2
for _sy_v; do command export "$_sy_v" 2>/dev/null; done
cd "$_sy_f" 2>/dev/null || { echo "cwd: ${_sy_f#./}: no such folder, or none to enter" >&2; exit 125; }
export TERM="${TERM:-xterm-256color}"
if _sy_b=$(command -v bash); then set -- "$_sy_b" --noprofile --norc; else set -- /bin/sh; fi
[ -z "$SANDYARD_RAW_ENV" ] || eval "set -- env $(sandyard_raw) \"\$@\""
exec "$@"
