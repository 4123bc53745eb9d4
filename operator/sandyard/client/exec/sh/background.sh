# background ID SECONDS MOST_BYTES WITH_STDIN FOLDER NAME=VALUE... -- COMMAND...
# A command that outlives the exec that starts it: everything of it lies in a folder of its own.
_sy_i=$1 _sy_t=$2 _sy_most=$3 _sy_in=$4 _sy_f=$5
shift 5
_sy_d=/tmp/.sandyard/proc/$_sy_i
umask 077
cd "$_sy_f" || exit 125
mkdir -p "$_sy_d" && mkfifo "$_sy_d/ready" "$_sy_d/o" "$_sy_d/e" || exit 126
(while [ "$1" != -- ]; do shift; done; shift; printf %s "$*") >"$_sy_d/cmd"
date +%s >"$_sy_d/start"

# Whoever looks before those that fill them have begun finds two files.
command : >"$_sy_d/stdout" && command : >"$_sy_d/stderr" || exit 126

# keep FILE: so much of the input goes there. The rest is dropped, and so is what a full disk does not take: a pipe that
# nobody reads would end the command.
keep() {
  while _sy_s=$(wc -c <"$1") && [ "$_sy_s" -lt "$_sy_most" ]; do
    SANDYARD_EXEC=- dd bs=65536 count=$(((_sy_most - _sy_s + 65535) / 65536)) 2>/dev/null >>"$1" || break
    [ "$(wc -c <"$1")" -gt "$_sy_s" ] || { command : >"$1.end"; return; }
  done
  command : >"$_sy_d/truncated"
  SANDYARD_EXEC=- cat >/dev/null
  command : >"$1.end"
}

supervise() {
  keep "$_sy_d/stdout" <"$_sy_d/o" &
  keep "$_sy_d/stderr" <"$_sy_d/e" &
  _sy_h=
  _sy_stdin=/dev/null
  if [ "$_sy_in" = 1 ]; then
    mkfifo "$_sy_d/stdin" "$_sy_d/hold"
    _sy_stdin=$_sy_d/stdin
    # Holds it open from one writer to the next, until somebody opens the other end of "hold". Once this is open, the
    # command has its end of it.
    (exec >"$_sy_d/stdin"; command : >"$_sy_d/stdin_opened"; SANDYARD_EXEC=- exec cat - <"$_sy_d/hold") &
    _sy_h=$!
  fi
  # What begins in the background has SIGINT ignored, which bash alone can take back.
  (
    trap - INT QUIT
    export SANDYARD_EXEC="$_sy_i"
    # As in run.sh: nothing but the command comes after its variables.
    while [ "$1" != -- ]; do sandyard_give "$1" 2>/dev/null; shift; done
    shift
    sandyard_check "$1"
    ! sandyard_own "$1" || set -- /bin/sh -c '"$@"' sh "$@"
    [ -z "$sandyard_rest" ] || eval "set -- $sandyard_rest \"\$@\""
    exec "$@"
  ) <"$_sy_stdin" >"$_sy_d/o" 2>"$_sy_d/e" 9>&- &
  _sy_c=$!
  echo $_sy_c >"$_sy_d/pid"
  # By then the command may have taken the folder away.
  echo $_sy_c >&9
  exec 9>&-
  _sy_w=
  [ "$_sy_t" = 0 ] || { sandyard_watch "$_sy_i" "$_sy_t" "$_sy_d/timed_out" & _sy_w=$!; }
  { wait $_sy_c; } 2>/dev/null
  _sy_r=$?
  [ -z "$_sy_w" ] || kill -s USR1 $_sy_w
  [ -z "$_sy_h" ] || { command : >"$_sy_d/stdin_closed"; kill $_sy_h; }
  # What it has written is on its way through the pipes; a child may hold them open for longer.
  _sy_n=0
  until [ -e "$_sy_d/stdout.end" ] && [ -e "$_sy_d/stderr.end" ] || [ $_sy_n -ge 20 ]; do
    _sy_n=$((_sy_n + 1))
    SANDYARD_EXEC=- sleep 0.1 || SANDYARD_EXEC=- sleep 1
  done
  echo $_sy_r >"$_sy_d/exit.new"
  mv -f "$_sy_d/exit.new" "$_sy_d/exit"
  # Whoever was about to close its input waits for the other end.
  [ ! -p "$_sy_d/hold" ] || command : <>"$_sy_d/hold"
  rm -f "$_sy_d/o" "$_sy_d/e" "$_sy_d/ready" "$_sy_d/stdin" "$_sy_d/hold"
}

exec 9<>"$_sy_d/ready"
# Redirections of a function would be undone, so that its shell would hold the streams of this exec.
{
  exec </dev/null >/dev/null 2>&1
  supervise "$@"
} &
TMOUT= read -r _sy_p <&9
echo "$_sy_p"
