# run ID WATCH_SECONDS FOLDER INPUT NAME=VALUE... -- COMMAND...
# INPUT is the length of its input. The client sends no end then, so that the end of the stream tells that the client
# is gone, and the command goes too. "-": the input ends with the stream, and what becomes of the client is not known.
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
  sandyard_say $r
  sandyard_say $r >&4
  exit $r
fi

# sandyard_run COMMAND...: to its end, with 5 as its input, and f as the process that watches for the client's end.
sandyard_run() {
  "$@" <&5 2>&4 3<&- 4>&- 5<&- &
  c=$!
  exec 5<&-
  w=
  [ "$t" = 0 ] || { sandyard_watch "$m" "$t" >/dev/null </dev/null 4>&- & w=$!; }
  wait $c
  r=$?
  # Before the client hears of the end, and goes.
  [ -z "$w$f" ] || kill -s USR1 $w $f
  sandyard_say $r
  sandyard_say $r >&4
  exit $r
}

# sandyard_gone: end the command when the stream of 3 ends. USR1 calls it off.
sandyard_gone() {
  trap 'kill $s; exit' USR1
  SANDYARD_EXEC= cat <&3 &
  s=$!
  exec 3<&-
  wait $s || return
  # The command may not even have begun.
  k=0
  while [ -z "$(sandyard_tagged "$m")" ] && [ $k -lt 300 ]; do
    k=$((k + 1))
    sleep 0.1 || sleep 1
  done
  trap '' USR1
  sandyard_end "$m" TERM 5
}

# sandyard_feed: so much of 3 becomes the input, after a line with the pid of this very shell. Some images have no head.
sandyard_feed() {
  sh -c 'echo $PPID'
  h="head -c "
  command -v head >/dev/null || h="dd bs=1 count="
  SANDYARD_EXEC= $h"$n" <&3
  exec >/dev/null
  sandyard_gone
}

f=
case $n in
  -) exec 5<&3 3<&- ;;
  0)
    sandyard_gone >/dev/null </dev/null 4>&- &
    f=$!
    exec 5</dev/null 3<&-
    ;;
  *)
    sandyard_feed </dev/null 4>&- | {
      exec 5<&0 3<&- </dev/null
      read -r f <&5
      sandyard_run "$@"
    }
    exit
    ;;
esac
sandyard_run "$@"
