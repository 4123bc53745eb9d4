# What the session's own lines need, whatever the commands before them have done to the shell. Marks go by the streams
# of the shell above (shell.sh), so that they arrive wherever standard output and error lead by then.
_sandyard_code=0 _sandyard_loud="" _sandyard_up=/proc/$PPID/fd
# While its PATH is that of the image.
_sandyard_dd=$(command -v dd)
_sandyard_builtin="command"
[ -z "${BASH_VERSION-}" ] || _sandyard_builtin=builtin
_sandyard_last() { return "$_sandyard_code"; }
_sandyard_call() { command eval "$_sandyard_loud$_sandyard_text"; }
# One that was switched off ("enable -n") is a program of the image.
_sandyard_mark() {
  "$_sandyard_builtin" printf '\000%s:%s\000' "$1" "$_sandyard_code" || command printf '\000%s:%s\000' "$1" "$_sandyard_code"
}
# _sandyard_end WORD CODE FLAGS
_sandyard_end() {
  unset -f "$_sandyard_builtin" 2>/dev/null
  _sandyard_quiet "$3"
  _sandyard_code=$2
  _sandyard_mark "$1" >"$_sandyard_up/1" &&
  _sandyard_mark "$1" >"$_sandyard_up/4"
}
[ ! -r ~/.bashrc ] || . ~/.bashrc >/dev/null 2>&1 </dev/null
_sandyard_quiet "$-"
