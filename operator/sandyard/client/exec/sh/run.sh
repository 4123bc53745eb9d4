# run ID WATCH_SECONDS FOLDER INPUT NAME=VALUE... -- COMMAND...
# INPUT is the length of its input, for servers that cannot tell its end; "-" for all others.
m=$1 t=$2 d=$3 n=$4
shift 4
while [ "$1" != -- ]; do export "$1"; shift; done
shift
# The word in the marks comes by the input: it is in no environment, and no process is called with it.
set +a
unset sandyard_mark
IFS= read -r sandyard_mark
sandyard_say() { printf '\000%s:%s\000' "$sandyard_mark" "$1"; }
# A letter tells that nothing was run, and why: there is no such folder, it is none, it may not be entered.
cd "$d" 2>/dev/null || {
  if [ -d "$d" ]; then r=p; elif [ -e "$d" ]; then r=d; else r=n; fi
  sandyard_say $r
  exit 125
}
export SANDYARD_EXEC="$m"
sandyard_say +
# What cannot be run is told in words of our own: the shell's would name this script.
w= r=0
case $1 in
  */*)
    if [ ! -e "$1" ]; then w="no such file" r=127; elif [ -d "$1" ] || [ ! -x "$1" ]; then w="permission denied" r=126; fi ;;
  *) command -v -- "$1" >/dev/null 2>&1 || w="command not found" r=127 ;;
esac
# From here on the shell itself says nothing: one that reports a job that a signal has killed (bash, at any
# moment after its end) would write that into the stream of the command. 4 is the command's standard error.
exec 3<&0 4>&2 2>/dev/null
if [ -n "$w" ]; then
  printf '%s: %s\n' "$1" "$w" >&4
else
  case $n in
    -) "$@" <&3 2>&4 3<&- 4>&- & ;;
    0) "$@" </dev/null 2>&4 3<&- 4>&- & ;;
    *) head -c "$n" <&3 2>&4 3<&- 4>&- | "$@" 2>&4 3<&- 4>&- & ;;
  esac
  c=$!
  exec 3<&-
  w=
  [ "$t" = 0 ] || { sandyard_watch "$m" "$t" >/dev/null </dev/null 4>&- & w=$!; }
  wait $c
  r=$?
  [ -z "$w" ] || kill -s USR1 $w
fi
sandyard_say $r
sandyard_say $r >&4
exit $r
