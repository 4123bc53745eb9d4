# run ID WATCH_SECONDS FOLDER INPUT TEXT NAME=VALUE... -- COMMAND...
# What it calls its own begins with _sy_ or sandyard_: the pod's variables are the command's. Those of the command are set
# where nothing but the command comes after them, not even a PATH of its own by which head and sleep would not be found.
# INPUT is the length of its input. The client sends no end then, so that the end of the stream tells that the client
# is gone, and the command goes too. "-": the input ends with the stream, and what becomes of the client is not known.
# "0": none, but a line once the command has run for a moment. Only then is it worth two more processes to watch its
# time as well, should nobody ever tell that the client is gone.
# TEXT, if there is one, is what the command reads from 6: a script that is too long for an argument.
set +a
unset sandyard_mark sandyard_text
_sy_m=$1 _sy_t=$2 _sy_d=$3 _sy_n=$4 sandyard_text=$5
shift 5
# The word in the marks comes by the input: it is in no environment, and no process is called with it.
# A TMOUT of the pod's is not for our own reading: bash would take it for the client's end.
TMOUT= IFS= read -r sandyard_mark
sandyard_say() { printf '\000%s:%s\000' "$sandyard_mark" "$1"; }
# A letter tells that nothing was run, and why: there is no such folder, it is none, it may not be entered.
cd "$_sy_d" 2>/dev/null || {
  if [ -d "$_sy_d" ]; then _sy_r=p; elif [ -e "$_sy_d" ]; then _sy_r=d; else _sy_r=n; fi
  sandyard_say "$_sy_r"
  exit 125
}
export SANDYARD_EXEC="$_sy_m"
sandyard_say +
# From here on the shell itself says nothing: one that reports a job that a signal has killed (bash, at any
# moment after its end) would write that into the stream of the command. 4 is the command's standard error.
exec 3<&0 4>&2 2>/dev/null

# sandyard_run NAME=VALUE... -- COMMAND...: to its end, with 5 as its input, and _sy_f as the process that watches for the client's end.
# Not in the background: there a shell has SIGINT and SIGQUIT ignored, by all that the command starts as well.
sandyard_run() {
  _sy_w=
  case $_sy_t:$_sy_n in
    0:* | *:0) ;;
    *) { exec >/dev/null </dev/null 4>&- 5<&-; sandyard_watch "$_sy_m" "$_sy_t"; } & _sy_w=$! ;;
  esac
  (
    while [ "$1" != -- ]; do sandyard_give "$1"; shift; done
    shift
    sandyard_check "$1" 2>&4
    ! sandyard_own "$1" || set -- /bin/sh -c '"$@"' sh "$@"
    [ -z "$sandyard_rest" ] || eval "set -- $sandyard_rest \"\$@\""
    [ -n "$sandyard_text" ] || exec "$@" 2>&4 4>&-
    exec "$@" 2>&4 4>&- 6<<sandyard_end_of_text
$sandyard_text
sandyard_end_of_text
  ) <&5 3<&- 5<&-
  _sy_r=$?
  # Before the client hears of the end, and goes.
  [ -z "$_sy_w" ] || kill -s USR1 "$_sy_w"
  [ -z "$_sy_f" ] || kill -s USR1 "$_sy_f"
  sandyard_say "$_sy_r"
  sandyard_say "$_sy_r" >&4
  exit "$_sy_r"
}

# sandyard_gone: end the command when the stream of 3 ends. USR1 calls it off.
sandyard_gone() {
  unset IFS TMOUT
  while read -r _sy_rest <&3; do :; done
  # The command may not even have begun.
  k=0
  while [ -z "$(sandyard_tagged "$_sy_m")" ] && [ $k -lt 300 ]; do
    k=$((k + 1))
    SANDYARD_EXEC=- sleep 0.1 || SANDYARD_EXEC=- sleep 1
  done
  trap '' USR1
  sandyard_end "$_sy_m" TERM 5
}

# sandyard_wait: nothing until the client says a line; then its end and the end of the time are watched for.
sandyard_wait() {
  unset IFS TMOUT
  read -r _sy_rest <&3 && [ "$_sy_t" != 0 ] || { sandyard_gone; return; }
  g=
  trap '[ -z "$g" ] || kill -s USR1 $g; exit' USR1
  sandyard_gone &
  g=$!
  sandyard_watch "$_sy_m" "$_sy_t" "" $g
  kill -s USR1 $g
}

_sy_f=
case $_sy_n in
  -) exec 5<&3 3<&- ;;
  0)
    # Of a function a shell would keep the streams that it is to let go of.
    { exec >/dev/null </dev/null 4>&-; sandyard_wait; } &
    _sy_f=$!
    exec 5</dev/null 3<&-
    ;;
  *)
    sandyard_feed </dev/null 4>&- | {
      exec 5<&0 3<&- </dev/null
      TMOUT= read -r _sy_f <&5
      sandyard_run "$@"
    }
    exit
    ;;
esac
sandyard_run "$@"
