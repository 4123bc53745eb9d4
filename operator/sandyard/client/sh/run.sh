# run ID WATCH_SECONDS FOLDER INPUT NAME=VALUE... -- COMMAND...
# INPUT is the length of its input, for servers that cannot tell its end; "-" for all others.
m=$1 t=$2 d=$3 n=$4
shift 4
while [ "$1" != -- ]; do export "$1"; shift; done
shift
cd "$d" || exit 125
export SANDYARD_EXEC="$m"
printf '\000%s:+\000' "$m"
exec 3<&0
case $n in
  -) "$@" <&3 3<&- & ;;
  0) "$@" </dev/null 3<&- & ;;
  *) head -c "$n" <&3 3<&- | "$@" 3<&- & ;;
esac
c=$!
exec 3<&-
w=
[ "$t" = 0 ] || { watch "$m" "$t" >/dev/null 2>&1 </dev/null & w=$!; }
{ wait $c; } 2>/dev/null
r=$?
[ -z "$w" ] || kill -s USR1 $w 2>/dev/null
printf '\000%s:%s\000' "$m" $r
printf '\000%s:%s\000' "$m" $r >&2
exit $r
