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
cd "$d" || exit 125
export SANDYARD_EXEC="$m"
printf '\000%s:+\000' "$sandyard_mark"
# From here on the shell itself says nothing: one that reports a job that a signal has killed (bash, at any
# moment after its end) would write that into the stream of the command. 4 is the command's standard error.
exec 3<&0 4>&2 2>/dev/null
case $n in
  -) "$@" <&3 2>&4 3<&- 4>&- & ;;
  0) "$@" </dev/null 2>&4 3<&- 4>&- & ;;
  *) head -c "$n" <&3 2>&4 3<&- 4>&- | "$@" 2>&4 3<&- 4>&- & ;;
esac
c=$!
exec 3<&-
w=
[ "$t" = 0 ] || { watch "$m" "$t" >/dev/null </dev/null 4>&- & w=$!; }
wait $c
r=$?
[ -z "$w" ] || kill -s USR1 $w
printf '\000%s:%s\000' "$sandyard_mark" $r
printf '\000%s:%s\000' "$sandyard_mark" $r >&4
exit $r
