# Processes of a command, found by its id in their environment: also those that have left their
# session and their group. The names are long, since a command's first word may be the name of a function.

# sandyard_tagged ID: the pids that carry it, without the dead and the dying.
sandyard_tagged() {
  for f in /proc/[0-9]*; do
    p=${f#/proc/}
    [ "$p" = $$ ] || case $(cat "$f/environ" 2>/dev/null) in *"SANDYARD_EXEC=$1"*)
      read -r s <"$f/stat" 2>/dev/null || continue
      case ${s##*) } in [ZX]*) ;; *) echo "$p" ;; esac
    esac
  done 2>/dev/null
}

# sandyard_tenths: tenths of a second since the machine started, in u. Not by counting rounds: on a busy machine
# one round takes long.
sandyard_tenths() {
  read -r u _ </proc/uptime
  u=${u%?}
  u=$((${u%.*} * 10 + ${u#*.}))
}

# sandyard_end ID SIGNAL SECONDS: send it to all of them, and KILL after so many seconds, until none is left.
sandyard_end() {
  unset IFS
  sandyard_tenths
  b=$u k=
  while l=$(sandyard_tagged "$1"); [ -n "$l" ]; do
    sandyard_tenths
    [ $((u - b)) -ge $(($3 * 10)) ] && set -- "$1" KILL "$3"
    [ $((u - b)) -gt $(($3 * 10 + 300)) ] && return 1
    [ -z "$k" ] || [ "$2" = KILL ] && kill -s "$2" $l
    k=1
    sleep 0.1 || sleep 1
  done 2>/dev/null
}

# sandyard_watch ID SECONDS [FILE]: end it when its time is over, whatever has become of the client, and tell so
# by making the file. USR1 calls it off.
sandyard_watch() {
  unset IFS
  trap 'kill $s; exit' USR1
  SANDYARD_EXEC= sleep "0$2" &
  s=$!
  # The command may die of the first signal, and call this off while children of it still have to go.
  wait $s && { [ -z "$3" ] || : >"$3"; } && trap '' USR1 && sandyard_end "$1" TERM 5
}
