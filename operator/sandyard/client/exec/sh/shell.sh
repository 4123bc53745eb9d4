# shell ID FOLDER NAME=VALUE...: a shell that takes its commands from its input; bash where there is one.
_sy_f=$2
export SANDYARD_EXEC="$1"
shift 2
cd "$_sy_f" 2>/dev/null || { echo "cwd: ${_sy_f#./}: no such folder, or none to enter" >&2; exit 125; }
# By the PATH of the image, and not by one that is given.
set -- "$@" "$(command -v bash || echo /bin/sh)"
while [ $# -gt 1 ]; do sandyard_give "$1" 2>/dev/null; shift; done
export TERM="${TERM:-xterm-256color}"
[ "$1" = /bin/sh ] || set -- "$1" --noprofile --norc
[ -z "$sandyard_rest" ] || eval "set -- $sandyard_rest \"\$@\""
# This shell stays: by its streams marks arrive whatever the other makes of its own. It says nothing itself; 4 is what
# was standard error.
exec 4>&2 2>/dev/null
(exec "$@" 2>&4 4>&-)
_sy_r=$?
exit "$_sy_r"
