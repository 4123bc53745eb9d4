# The shell of a context: what its lines need, whatever the cells before them have done to it; see shell_begin.sh.
# As if nobody sat before it.
# shellcheck disable=SC3040,SC3041,SC3044
if [ -n "${BASH_VERSION-}" ]; then
  set +H +o history
  shopt -u expand_aliases
  unset HISTFILE PROMPT_COMMAND
  PS1="" PS2=""
else
  trap "break 999" USR2
fi
_sandyard_cell="" _sandyard_tmout=${TMOUT-}
# It would end a shell that waits for a cell, too.
case $_sandyard_tmout in "") ;; *) TMOUT="" ;; esac
_sandyard_code=0 _sandyard_loud=""
_sandyard_builtin="command"
[ -z "${BASH_VERSION-}" ] || _sandyard_builtin=builtin
_sandyard_last() { return "$_sandyard_code"; }
_sandyard_call() { command eval "$_sandyard_loud$_sandyard_text"; }
_sandyard_take() {
  # Of one that was interrupted.
  _sandyard_end "$?" "$-"
  case $_sandyard_tmout in "" | "${TMOUT-}") ;; *) TMOUT=$_sandyard_tmout ;; esac
  _sandyard_cell=$2 _sandyard_text="" _sandyard_out=/dev/null _sandyard_err=/dev/null
  # Where that cannot be written although the cell is there (no number is left for a file), it would wait for ever.
  command : 2>/dev/null >|"$2/begun" || { [ ! -d "$2" ] || exit 1; return 0; }
  [ ! -e "$2/cancelled" ] || return 0
  "$_sandyard_builtin" printf '%s\n' "${2##*/}" >|"$_sandyard_context/current"
  _sandyard_text=$(SANDYARD_EXEC=- "$_sandyard_builtin" command "$_sandyard_cat" "$2/cell" && "$_sandyard_builtin" printf .)
  # What cannot be read is not taken for an empty cell.
  case $_sandyard_text in *.) _sandyard_text=${_sandyard_text%.} ;; *) exit 1 ;; esac
  _sandyard_out=/proc/$1/fd/8 _sandyard_err=/proc/$1/fd/9
  export SANDYARD_ARTIFACTS="$2/artifacts"
}
# _sandyard_end CODE FLAGS. Fails where somebody waits who cannot be told (no number is left for a file): the end of this
# shell tells it.
_sandyard_end() {
  case $_sandyard_cell in "") return 0 ;; esac
  unset -f "$_sandyard_builtin" 2>/dev/null
  _sandyard_quiet "$2"
  _sandyard_code=$1
  "$_sandyard_builtin" printf '%s\n' "$_sandyard_code" 1<>"$_sandyard_cell/end" || [ ! -p "$_sandyard_cell/end" ] || return
  _sandyard_cell=""
  _sandyard_tmout=${TMOUT-}
  # One that is read-only stays, and ends the shell.
  case $_sandyard_tmout in "") ;; *) (TMOUT="") && TMOUT="" ;; esac
  return 0
} 2>/dev/null
