# The shell of a context: what its lines need, whatever the cells before them have done to it; see shell_begin.sh.
_sandyard_code=0
_sandyard_builtin="command"
[ -z "${BASH_VERSION-}" ] || _sandyard_builtin=builtin
_sandyard_last() { return "$_sandyard_code"; }
_sandyard_call() { command eval "$_sandyard_text"; }
_sandyard_take() {
  _sandyard_cell=$2 _sandyard_text="" _sandyard_out=/dev/null _sandyard_err=/dev/null
  : 2>/dev/null >"$2/begun" || return 0
  [ ! -e "$2/cancelled" ] || return 0
  "$_sandyard_builtin" printf '%s\n' "${2##*/}" >"$_sandyard_context/current"
  _sandyard_text=$(SANDYARD_EXEC=- cat "$2/cell"; echo .)
  _sandyard_text=${_sandyard_text%.}
  _sandyard_out=/proc/$1/fd/8 _sandyard_err=/proc/$1/fd/9
  export SANDYARD_ARTIFACTS="$2/artifacts"
}
_sandyard_end() {
  _sandyard_code=$?
  unset -f "$_sandyard_builtin" 2>/dev/null
  "$_sandyard_builtin" printf '%s\n' "$_sandyard_code" 1<>"$_sandyard_cell/end"
} 2>/dev/null
