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

# sandyard_below PIDS NOT SESSIONS ROOTS: adds to PIDS, in a, all that descends from one of them or of ROOTS, and those
# of the sessions that one of SESSIONS leads, but for NOT. All of these with spaces around each pid.
sandyard_below() {
  a=$1 n=$2 e=$3 r=$4 m=1
  while [ -n "$m" ]; do
    m=
    for f in /proc/[0-9]*; do
      p=${f#/proc/}
      case $a$r in *" $p "*) continue ;; esac
      read -r s <"$f/stat" || continue
      set -- ${s##*) }
      case $1 in [ZX]*) continue ;; esac
      case $a$r in *" $2 "*) ;; *)
        case $n in *" $p "*) continue ;; esac
        case $e in *" $4 "*) ;; *) continue ;; esac
      esac
      a="$a$p " m=1
    done
  done 2>/dev/null
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
  # A session whose leader is gone holds nothing but what that has started.
  e=" "
  for p in $t; do
    read -r s <"/proc/$p/stat" || continue
    set -- "$1" ${s##*) }
    [ "$5" = 0 ] || [ -e "/proc/$5" ] || e="$e$5 "
  done 2>/dev/null
  sandyard_below "$o$t" "$w$h" "$t$w$r$e" "$r"
  for p in $a; do
    [ "$p" != $$ ] && read -r s <"/proc/$p/stat" || continue
    case ${s##*) } in [ZX]*) ;; *) echo "$p" ;; esac
  done 2>/dev/null
}

# sandyard_children PID: all that descends from it.
sandyard_children() {
  sandyard_below "" "" "" " $1 "
  echo "$a"
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
  b=$u k= o=
  while l=$(sandyard_tagged "$1" "$o"); [ -n "$l" ]; do
    o=$l
    sandyard_tenths
    [ $((u - b)) -ge $(($3 * 10)) ] && set -- "$1" KILL "$3"
    [ $((u - b)) -gt $(($3 * 10 + 300)) ] && return 1
    [ -z "$k" ] || [ "$2" = KILL ] && kill -s "$2" $l
    k=1
    SANDYARD_EXEC=- sleep 0.1 || SANDYARD_EXEC=- sleep 1
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
  wait $s && { [ -z "$3" ] || : >"$3"; } && trap '' USR1 && sandyard_end "$1" TERM 5
}
