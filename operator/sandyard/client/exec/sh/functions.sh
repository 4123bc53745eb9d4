# Processes of a command, found by its id in their environment, by their parents and by their session. The names are
# long, since a command's first word may be the name of a function.

# sandyard_named WORD FILE: the pids of which that file in /proc holds the word, with a space before and after each.
sandyard_named() {
  printf ' '
  if command -v grep >/dev/null; then
    # One that reads lines and not what is between zeros may stop at the first of those.
    l=$(SANDYARD_EXEC=- grep -lzFs -e "$1" /proc/[0-9]*/"$2")
    for f in $l; do
      f=${f#/proc/}
      printf '%s ' "${f%%/*}"
    done
    return
  fi
  for f in /proc/[0-9]*; do
    case $(SANDYARD_EXEC=- cat "$f/$2" 2>/dev/null) in *"$1"*) printf '%s ' "${f#/proc/}" ;; esac
  done
}

# sandyard_look: what the kernel says of each process, a line each, in sandyard_stats. By one cat: a shell reads byte by
# byte, and gVisor makes such a file anew for each of them.
sandyard_look() {
  sandyard_nl="
"
  sandyard_stats=$(SANDYARD_EXEC=- cat /proc/[0-9]*/stat 2>/dev/null)
}

# sandyard_pid: whose line s is, in p. The name of a process may hold an end of line: then it is that of the line before.
sandyard_pid() {
  p=${s%% *}
  case $p in *[!0-9]*) p=$q ;; *) q=$p ;; esac
}

# sandyard_below PIDS NOT SESSIONS ROOTS: adds to PIDS, in a, all that descends from one of them or of ROOTS, and those
# of the sessions that one of SESSIONS leads, but for NOT. All of these with spaces around each pid.
sandyard_below() {
  a=$1 n=$2 e=$3 r=$4 m=1
  set -f
  while [ -n "$m" ]; do
    m= q=
    IFS=$sandyard_nl
    for s in $sandyard_stats; do
      unset IFS
      sandyard_pid
      case $a$r in *" $p "*) continue ;; esac
      set -- ${s##*) }
      [ $# -ge 4 ] || continue
      case $1 in [ZX]*) continue ;; esac
      case $a$r in *" $2 "*) ;; *)
        case $n in *" $p "*) continue ;; esac
        case $e in *" $4 "*) ;; *) continue ;; esac
      esac
      a="$a$p " m=1
    done
    unset IFS
  done
}

# sandyard_tagged ID [BEFORE]: the pids of a command, without the dead and the dying: what carries its id, what descends
# from that, what is in its session, and what was found BEFORE: a parent that is gone leads nowhere any more.
# ID-child: all that the shell of that id has started.
sandyard_tagged() {
  o=" "
  for p in $2; do o="$o$p "; done
  t=$(sandyard_named "SANDYARD_EXEC=$1" environ)
  # What runs around the command knows its id too, and is needed; a helper of ours has none.
  w=$(sandyard_named "${1%-child}" cmdline)
  h=$(sandyard_named "SANDYARD_EXEC=-" environ)
  r=
  [ "$1" = "${1%-child}" ] || r=$(sandyard_named "SANDYARD_EXEC=${1%-child}" environ)
  for p in $t; do case $r in *" $p "*) r="${r%%" $p "*} ${r#*" $p "}" ;; esac; done
  sandyard_look
  # A session whose leader is gone holds nothing but what that has started.
  e=" " q=
  set -f
  IFS=$sandyard_nl
  for s in $sandyard_stats; do
    unset IFS
    sandyard_pid
    case $t in *" $p "*) ;; *) continue ;; esac
    set -- "$1" ${s##*) }
    [ "${5:-0}" = 0 ] || [ -e "/proc/$5" ] || e="$e$5 "
  done
  sandyard_below "$o$t" "$w$h" "$t$w$r$e" "$r"
  q=
  IFS=$sandyard_nl
  for s in $sandyard_stats; do
    unset IFS
    sandyard_pid
    case $a in *" $p "*) ;; *) continue ;; esac
    # What has looked is gone by now.
    [ "$p" != $$ ] && [ -e "/proc/$p" ] || continue
    case ${s##*) } in [ZX]*) ;; *) echo "$p" ;; esac
  done
  unset IFS
  set +f
}

# sandyard_children PID: all that descends from it.
sandyard_children() {
  sandyard_look
  sandyard_below "" "" "" " $1 "
  set +f
  echo "$a"
}

# sandyard_tenths: tenths of a second since the machine started, in u. Not by counting rounds: on a busy machine
# one round takes long.
sandyard_tenths() {
  read -r u _ </proc/uptime
  u=${u%?}
  u=$((${u%.*} * 10 + ${u#*.}))
}

# sandyard_end ID SIGNAL SECONDS: send it to all of them, and KILL after so many seconds, until two looks in a row find
# none: for a moment in its exec a process shows no environment.
sandyard_end() {
  unset IFS
  sandyard_tenths
  b=$u k= o= j=1 z=
  while l=$(sandyard_tagged "$1" "$o"); [ -n "$l" ] || [ -z "$z" ]; do
    if [ -z "$l" ]; then
      z=1 j=1
    else
      o=$l z=
      sandyard_tenths
      [ $((u - b)) -ge $(($3 * 10)) ] && set -- "$1" KILL "$3"
      [ $((u - b)) -gt $(($3 * 10 + 300)) ] && return 1
      [ -z "$k" ] || [ "$2" = KILL ] && kill -s "$2" $l
      k=1
    fi
    SANDYARD_EXEC=- sleep "0.$j" || SANDYARD_EXEC=- sleep 1
    # Each look takes processor time from those that are to end.
    [ $j -ge 8 ] || j=$((j * 2))
  done 2>/dev/null
}

# sandyard_watch ID SECONDS [FILE [PID]]: end it when its time is over, whatever has become of the client, and tell so
# by making the file. USR1 calls it off, and the watch that is PID.
sandyard_watch() {
  unset IFS
  s= g=$4
  trap 'kill $s; [ -z "$g" ] || kill -s USR1 $g; exit' USR1
  SANDYARD_EXEC=- sleep "0$2" &
  s=$!
  # The command may die of the first signal, and call this off while children of it still have to go.
  wait $s && { [ -z "$3" ] || command : >"$3" || :; } && trap '' USR1 && sandyard_end "$1" TERM 5
}
