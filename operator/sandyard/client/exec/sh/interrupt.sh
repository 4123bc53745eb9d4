# sandyard_strike FOLDER CELL SIGNAL: to all that the shell of a context waits for, while the shell itself gets its own.
# All at once, as a terminal does it: none of them sees another's end first. The shell forgets the rest of its line then,
# and with it to tell that the cell is over.
sandyard_strike() {
  read -r _sy_y <"$1/current"
  [ "$2" = any ] || [ "$_sy_y" = "$2" ] || return 0
  read -r _sy_k <"$1/pid"
  read -r _sy_g <"$1/signal"
  _sy_x=$(sandyard_children "$_sy_k")
  kill -s STOP $_sy_x
  kill -s "$_sy_g" "$_sy_k"
  kill -s "$3" $_sy_x
  kill -s CONT $_sy_x
  echo '_sandyard_end "$?" "$-"' 1<>"$1/queue"
} 2>/dev/null

# sandyard_interrupt FOLDER CELL: ends what the context in that folder runs, if it is that cell ("any": whichever).
sandyard_interrupt() {
  read -r _sy_l <"$1/language"
  read -r _sy_k <"$1/pid"
  case $_sy_l in
    python)
      echo "$2" >"$1/interrupt"
      kill -s INT "$_sy_k"
      ;;
    javascript) echo "$2" 1<>"$1/interrupt" ;;
    *)
      # What another shell has started may have SIGINT ignored.
      read -r _sy_g <"$1/signal"
      case $_sy_g in INT) sandyard_strike "$1" "$2" INT ;; *) sandyard_strike "$1" "$2" TERM ;; esac
      ;;
  esac
} 2>/dev/null
