# background ID SECONDS MOST_BYTES WITH_STDIN FOLDER NAME=VALUE... -- COMMAND...
# A command that outlives the exec that starts it: everything of it lies in a folder of its own.
i=$1 t=$2 most=$3 in=$4 f=$5
shift 5
d=/tmp/.sandyard/proc/$i
umask 077
while [ "$1" != -- ]; do export "$1"; shift; done
shift
cd "$f" || exit 125
mkdir -p "$d" && mkfifo "$d/ready" "$d/o" "$d/e" || exit 126
printf %s "$*" >"$d/cmd"
date +%s >"$d/start"

# keep FILE: so much of the input goes there, the rest is dropped.
keep() {
  : >"$1"
  while s=$(wc -c <"$1") && [ "$s" -lt "$most" ]; do
    dd bs=65536 count=$(((most - s + 65535) / 65536)) 2>/dev/null >>"$1"
    [ "$(wc -c <"$1")" -gt "$s" ] || { : >"$1.end"; return; }
  done
  : >"$d/truncated"
  cat >/dev/null
  : >"$1.end"
}

supervise() {
  keep "$d/stdout" <"$d/o" &
  keep "$d/stderr" <"$d/e" &
  h=
  stdin=/dev/null
  if [ "$in" = 1 ]; then
    mkfifo "$d/stdin" "$d/hold"
    stdin=$d/stdin
    # Holds it open from one writer to the next, until somebody opens the other end of "hold".
    cat >"$d/stdin" <"$d/hold" &
    h=$!
  fi
  (export SANDYARD_EXEC="$i"; exec "$@" <"$stdin" >"$d/o" 2>"$d/e") &
  c=$!
  echo $c >"$d/pid"
  echo $c >"$d/ready"
  w=
  [ "$t" = 0 ] || { sandyard_watch "$i" "$t" "$d/timed_out" & w=$!; }
  { wait $c; } 2>/dev/null
  r=$?
  [ -z "$w" ] || kill -s USR1 $w
  [ -z "$h" ] || kill $h
  # What it has written is on its way through the pipes; a child may hold them open for longer.
  n=0
  until [ -e "$d/stdout.end" ] && [ -e "$d/stderr.end" ] || [ $n -ge 20 ]; do
    n=$((n + 1))
    sleep 0.1 || sleep 1
  done
  echo $r >"$d/exit.new"
  mv -f "$d/exit.new" "$d/exit"
  rm -f "$d/o" "$d/e" "$d/ready" "$d/stdin" "$d/hold"
}

supervise "$@" </dev/null >/dev/null 2>&1 &
read -r p <"$d/ready"
echo "$p"
